"""Making presence scores mean what they say: `lasagna calibrate`."""
