"""Homes and sentences as data: train.toml and test.toml, written apart."""
