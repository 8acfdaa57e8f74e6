"""`python -m distill import-teacher`: another library's network as a file of ours, with what is known of it."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from distill import checks, protocol
from distill.atari.rules import EnvRules
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.evaluation import EvalConfig
from distill.networks import DQN, count_parameters
from distill.runs.scores import play_with_bar
from distill.summary import summarise
from distill.tools.pictures import SEEN_BOTH_WAYS, VIEWS, equal_actions
from distill.weights.files import save_network
from distill.weights.foreign import LIBRARIES, legal_alone
from distill.weights.hub import on_hub, pinned
from distill.weights.load import find_weights, load_network

WEIGHTS_SUFFIX = ".safetensors"
KIND_NAMES = {"values": "values of actions", "policy": "logits: a policy, to be distilled by KL at temperature 1"}


def import_teacher(
    file: str,
    out: str,
    game: str | None = None,
    fire_reset: bool | None = None,
    life_loss: bool | None = None,
    sticky: float | None = None,
    frame_skip: int | None = None,
    full_action_set: bool | None = None,
    pixels: Literal["0 to 1", "0 to 255"] | None = None,
    newest_first: bool = False,
    episodes: int = 5,
    max_frames: int = protocol.MAX_FRAMES,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Convert another library's network into a file of ours, and say what was recognised and what it scores.

    Zips of Stable-Baselines3 (DQN, QR-DQN, PPO, MaskablePPO, A2C, TRPO), CleanRL's `.cleanrl_model` (DQN, C51) and the
    `.gz` of atari-agents (DQN, M-DQN, C51) are told apart by their content. `fit`, `evaluate` and `export` take them as
    they are, too; the file that this writes also keeps where the network came from, and the rules of its play.

    Args:
        file: What to read, a file or its name on the Hugging Face hub, `hf:owner/name`.
        out: The file to write, `.safetensors`.
        game: What the network plays, by the ALE's name; needed where the file does not say.
        fire_reset: Whether FIRE is pressed when an episode begins and after each lost life. This and the next four are
            by default as the library's own wrappers do.
        life_loss: Whether the stack of frames begins anew after each lost life.
        sticky: Probability that the emulator repeats the last action for a frame, 0 to 1.
        frame_skip: Frames of a step, 1 to 60.
        full_action_set: Whether a network of all 18 actions plays with all of them; else with the legal ones.
        pixels: Range of what the network sees. By default as the file says, else 0 to 1; the first layer is converted.
        newest_first: Whether it sees the newest frame first; the first layer is converted.
        episodes: How many are played for its score, from no-op starts; 1 or more.
        max_frames: Longest of them in frames, above 0.
        seed: Of them, 0 or more.
        overwrite: Whether a file that exists may be replaced.
    """
    checks.at_least(1, episodes=episodes)
    checks.between(1, protocol.MOST_FRAMES, max_frames=max_frames)
    checks.at_least(0, seed=seed)
    file = pinned(file)
    network, header = load_network(file, game)
    if "imported" not in header:
        raise DistillError(f"{file} is a network of this project, which needs no import; `export` copies it")
    source, path = find_weights(file), Path(out)
    if path.suffix != WEIGHTS_SUFFIX:
        raise DistillError(f"out is {path}; it must end in {WEIGHTS_SUFFIX}")
    checks.output("out", path, source, overwrite=overwrite)
    options = {"fire_reset": fire_reset, "life_loss": life_loss, "sticky": sticky, "frame_skip": frame_skip}
    env = EnvRules.of(header).given(**options)
    game, known = header["game"], header["imported"]
    if full_action_set is not None and full_action_set != env.full_action_set:
        if full_action_set:
            raise DistillError(f"full_action_set is true, but {file} has the {network.num_actions} legal actions alone")
        network, env = legal_alone(network, game), env._replace(full_action_set=False)
    _convert_pixels(network, known, pixels, newest_first)
    header |= {"actions": env.action_names(game), "rules": env.changed}
    known |= {"file": file if on_hub(file) else source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    library = known["library"].partition(" ")[0]
    policy = frozen_policy(network)
    known["equal_actions"] = equal_actions(policy, game, env, VIEWS[library])
    save_network(path, network, header)
    rules = EvalConfig(game, tuple(range(episodes)), seed, max_frames=max_frames, env=env)
    score = summarise(play_with_bar(policy, rules, "playing").scores)
    header |= {"protocol": rules.described, "score": score._asdict()}
    save_network(path, network, header)
    rows = {
        "library": known["library"],
        "algorithm": known["algorithm"],
        "outputs": KIND_NAMES[header["kind"]] if network.atoms is None else f"{len(network.atoms)} atoms of each value",
        "network": f"{network.shape}; {count_parameters(network):,} parameters",
        "actions": ", ".join(header["actions"]),
        "play": env.described.removeprefix(", ") or "as in the paper",
        "pixels": known["pixels"],
        "stack": f"{'newest' if newest_first else 'oldest'} first; at an episode's start {LIBRARIES[library].stack}",
        "picture": f"{LIBRARIES[library].picture}; here grey, maximum of two frames, by area",
        "the same action": f"for {known['equal_actions']:.1%} of {SEEN_BOTH_WAYS:,} observations seen both ways",
        "score": "{:.1f} ({:.1f} to {:.1f})".format(score.mean, *score.interval95),
        "by": f"{score.episodes} episodes, {rules.described}",
    }
    table = Table(title=f"{source.name}: {game}", show_header=False)
    for row in rows.items():
        table.add_row(*row)
    Console(highlight=False).print(table)
    print(f"written: {path}")


def _convert_pixels(
    network: DQN, known: dict[str, Any], pixels: Literal["0 to 1", "0 to 255"] | None, newest_first: bool
) -> None:
    """Have the first layer take what all networks here see: pixels from 0 to 1, the oldest frame first."""
    weight = network.conv1.weight.data
    if pixels not in (None, known["pixels"]):
        weight *= 255 if pixels == "0 to 255" else 1 / 255
        known["pixels"] = pixels
    if newest_first:
        network.conv1.weight.data = weight.flip(1)
