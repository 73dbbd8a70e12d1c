"""Fine-tuning the encoder with Keras (extra ``train``)."""
