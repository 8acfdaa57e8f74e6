"""Policy distillation on PyTorch Lightning: play -> store -> learn -> score.

Axis letters, the same in every signature:

    B batch · A actions · K stacked frames · H, W pixels · N environments · T steps in a row · S runs of steps

Words: a *frame* is one emulator frame, 60 a simulated second; a *step* is one decision, 4 frames; an *hour* is 54,000
steps; an *update* is one optimiser step on one minibatch; a *block* is the minibatches of one `training_step`; an
*episode* runs from reset to end; a *score* is its undiscounted, unclipped sum of rewards; a *label* is the teacher's
output for a stored observation. Lightning's `global_step` counts updates, its epoch is an hour.
"""
