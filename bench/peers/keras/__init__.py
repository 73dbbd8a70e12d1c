"""The seed: Keras on TensorFlow."""
