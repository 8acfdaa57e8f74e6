"""`python -m distill import-teacher`: another library's network as a file of ours, with what is known of it."""

import hashlib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from distill import checks, protocol
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.evaluation import EvalConfig
from distill.networks import count_parameters
from distill.runs.scores import play_with_bar
from distill.summary import summarise
from distill.weights.files import save_network
from distill.weights.hub import on_hub, pinned
from distill.weights.load import find_weights, load_network

WEIGHTS_SUFFIX = ".safetensors"
KIND_NAMES = {"values": "values of actions", "policy": "logits: a policy, to be distilled by KL at temperature 1"}


def import_teacher(
    file: str,
    out: str,
    game: str | None = None,
    episodes: int = 5,
    max_frames: int = protocol.MAX_FRAMES,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Convert another library's network into a file of ours, and say what was recognised and what it scores.

    Zips of Stable-Baselines3 (DQN, QR-DQN, PPO, A2C), CleanRL's `.cleanrl_model` (DQN, C51) and the `.gz` of
    atari-agents (DQN, M-DQN, C51) are told apart by their content. `fit`, `evaluate` and `export` take them as they
    are, too; the file that this writes also keeps where the network came from.

    Args:
        file: What to read, a file or its name on the Hugging Face hub, `hf:owner/name`.
        out: The file to write, `.safetensors`.
        game: What the network plays, by the ALE's name; needed where the file does not say.
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
    name = file if on_hub(file) else source.name
    header["imported"] |= {"file": name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    rules = EvalConfig(header["game"], tuple(range(episodes)), seed, max_frames=max_frames)
    save_network(path, network, header)
    score = summarise(play_with_bar(frozen_policy(network), rules, "playing").scores)
    header |= {"protocol": rules.described, "score": score._asdict()}
    save_network(path, network, header)
    known, legal = header["imported"], len(header["actions"])
    also = "" if known["actions"] == legal else f"; the {legal} legal ones are kept"
    rows = {
        "library": known["library"],
        "algorithm": known["algorithm"],
        "outputs": KIND_NAMES[header["kind"]] if network.atoms is None else f"{len(network.atoms)} atoms of each value",
        "network": f"{', '.join(map(str, network.widths))}; {count_parameters(network):,} parameters",
        "actions": f"{known['actions']}{also}: {', '.join(header['actions'])}",
        **{name: known[name] for name in ("stack", "scaling", "resize", "start")},
        "sticky actions": known["sticky"],
        "score": "{:.1f} ({:.1f} to {:.1f})".format(score.mean, *score.interval95),
        "by": f"{score.episodes} episodes, {rules.described}",
    }
    table = Table(title=f"{source.name}: {header['game']}", show_header=False)
    for row in rows.items():
        table.add_row(*row)
    Console(highlight=False).print(table)
    print(f"written: {path}")
