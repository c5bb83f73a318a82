"""The command line: `wherry SUBCOMMAND`."""
