"""The PC that teaches the board. The only package that may import torch."""
