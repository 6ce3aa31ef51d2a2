"""The training module of the document "LoRA Training Module": requests that a RunPod endpoint trains. Not: what becomes of them.

* `client`: `TrainingClient`, `train_style`, `train_actor`
* `workflow`: `LoRATrainingWorkflow` and its template; `checking`: a workflow against the recorded nodes of ComfyUI-FluxTrainer
* `hyperparams`: learning rate and steps, by the prefill policies; `inputs`: the images and captions of a request
"""
