"""Rewritings of loop nests, one per file."""
