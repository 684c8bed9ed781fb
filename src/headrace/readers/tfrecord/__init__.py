"""TFRecords: records of bytes, as TensorFlow writes them, and tf.train.Example in them."""
