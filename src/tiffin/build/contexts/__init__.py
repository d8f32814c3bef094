"""What goes into a build: directories, archives, URLs, git, images, and what its caller lends to it."""
