"""The command `autotune`, one file per subcommand."""
