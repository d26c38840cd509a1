"""A video through the network on this machine."""
