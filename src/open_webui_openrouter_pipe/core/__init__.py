"""What every room may use: settings, errors, context, logging, admission."""
