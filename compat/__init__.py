"""Other projects' names over this one."""
