"""Pure functions from configuration to chart values and server configuration. They create nothing."""
