"""Schedules of templates for processors, with open decisions."""
