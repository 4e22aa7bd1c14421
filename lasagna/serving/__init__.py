"""A server that answers queries about images over HTTP; needs the extra ``serve``."""
