"""The steps of a schedule, as data: one frozen class each, which checks itself against a table and gives a new one."""
