"""What is on disk: MNIST, batches of handwriting, the index of all images, the splits."""
