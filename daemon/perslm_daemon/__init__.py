"""The process on the board: pipeline, command line and configuration."""
