"""Publishing a result: the card that describes it, and the job that uploads both to Hugging Face. Not: what is personal in a file."""
