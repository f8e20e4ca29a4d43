"""The house's own tools: what `make` runs before anything of PersLM is installed.

Standard library only, because it works on a machine that has nothing but Python and git. It knows nothing of what
the product does: it brings a virtual environment into the state that the lock files describe.
"""
