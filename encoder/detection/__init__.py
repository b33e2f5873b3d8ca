"""Where faces are in a picture, and the crop that is read."""
