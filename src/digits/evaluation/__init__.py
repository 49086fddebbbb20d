"""How good a model is: metrics on predictions, and corruptions of images."""
