"""The machines that jobs run on. A host transfers bytes and sends signals, but does not define what they mean."""
