"""A video through the network on this machine: shots, windows and stitching, noise, planning, colour, jobs."""
