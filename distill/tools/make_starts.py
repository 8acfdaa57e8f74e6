"""Starts from play: a person's, as far as it can be verified, or another network's, which is said to be no person's."""

from pathlib import Path

import numpy as np

from distill import checks, protocol
from distill.atari.cartridge import legal_actions, rom_md5
from distill.atari.environments import Atari
from distill.atari.starts import COUNT, Episode, sample_starts
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.randomness import generator
from distill.rollout import in_turn, play
from distill.tools.play_log import pictures, read, verify
from distill.weights.hub import pinned
from distill.weights.load import find_weights, load_network


def import_starts(
    log: str,
    out: str,
    game: str | None = None,
    player: str | None = None,
    licence: str | None = None,
    count: int = COUNT,
    seed: int = 0,
    color_averaging: bool = False,
    overwrite: bool = False,
) -> None:
    """Draw starts from recordings of human play, after replaying them.

    Args:
        log: A recording by `record`, a label file of Atari-HEAD, or a folder of either. Pictures are looked for in a
            folder or a tar archive of the label file's name, beside it.
        out: The file of starts.
        game: ALE name; where the recording does not say.
        player: Who played; where the recording does not say.
        licence: Under which the recording may be used; where it does not say.
        count: How many to draw, 1 or more.
        seed: Of the drawing, 0 or more.
        color_averaging: Whether the pictures blend two frames, as Atari-HEAD's table says of some.
        overwrite: Whether a file that exists may be replaced.
    """
    checks.at_least(1, count=count)
    checks.at_least(0, seed=seed)
    logs = sorted(Path(log).glob("*.txt")) if Path(log).is_dir() else [Path(log)]
    if not logs:
        raise DistillError(f"{log} holds no recording (*.txt)")
    checks.output("out", out, *logs, overwrite=overwrite)
    options = {"game": game, "player": player, "licence": licence}
    whose = {name: said for name, said in options.items() if said is not None}
    episodes: list[Episode] = []
    for path in logs:
        header, rows = read(path)
        for name in options:
            said = header.get(name, whose.get(name))
            if said is None:
                raise DistillError(f"{path} does not say its {name}; give --{name}")
            if whose.setdefault(name, said) != said:
                raise DistillError(f"{path} says that its {name} is {said!r}, not {whose[name]!r}")
        cartridge = rom_md5(whose["game"])
        if header.get("rom_md5", cartridge) != cartridge:
            raise DistillError(f"{path} was played on the cartridge {header['rom_md5']}; installed is {cartridge}")
        with pictures(path) as seen:
            for number, one in enumerate(verify(whose["game"], rows, seen, color_averaging=color_averaging)):
                good = len(one.episode.actions)
                why = f"; {one.diverges}" if one.diverges else ""
                print(f"{path.name}, episode {number}: {good:,} of {one.episode.frames:,} frames verified{why}")
                episodes.append(one.episode)
    if not any(len(episode.actions) for episode in episodes):
        raise DistillError(f"no frame of {log} could be verified, so it gives no starts")
    starts = sample_starts(whose.pop("game"), episodes, count=count, seed=seed, human=True, **whose)
    starts.save(Path(out))
    print(f"{out}: {starts.described}, {starts.licence}")


def draw_starts(
    weights: str,
    out: str,
    game: str | None = None,
    epsilon: float = 0.3,
    episodes: int = 10,
    count: int = COUNT,
    seed: int = 1,
    max_frames: int = protocol.MAX_FRAMES,
    overwrite: bool = False,
) -> None:
    """Draw starts from the play of a network, a stand-in for a person's; every score from them says so.

    Args:
        weights: Who plays: a shipped teacher's name, or a file, here or as `hf:owner/name` on the Hugging Face hub;
            better not the one that is to be scored.
        out: The file of starts.
        game: Which, of a network that plays several.
        epsilon: Probability of a random action, 0 to 1.
        episodes: How many are played, 1 or more.
        count: How many starts to draw, 1 or more.
        seed: Of play and drawing, 0 or more.
        max_frames: Longest episode in frames.
        overwrite: Whether a file that exists may be replaced.
    """
    checks.between(0, 1, epsilon=epsilon)
    checks.between(1, protocol.MOST_FRAMES, max_frames=max_frames)
    checks.at_least(1, episodes=episodes, count=count)
    checks.at_least(0, seed=seed)
    weights = pinned(weights)
    checks.output("out", out, find_weights(weights), overwrite=overwrite)
    network, header = load_network(weights, game)
    game = header["game"]
    games = Atari(game, episodes, max_frames=max_frames)
    random = lambda number: generator(seed, "start", game, number) if number < episodes else None  # noqa: E731
    logs: list[list[int]] = []
    for step in play(frozen_policy(network), games, in_turn(random), lambda: epsilon):
        logs = logs or [games.lead_in(number).tolist() for number in range(episodes)]
        for number, action in zip(step.episodes.tolist(), step.actions.tolist(), strict=True):
            if number >= 0:
                logs[number] += [legal_actions(game)[action]] * protocol.FRAMES_PER_STEP
    games.close()
    starts = sample_starts(
        game,
        [Episode(np.array(log, np.uint8), len(log)) for log in logs],
        count=count,
        seed=seed,
        player=f"{Path(weights).name} at epsilon {epsilon:g}",
        human=False,
        licence="CC0-1.0",
    )
    starts.save(Path(out))
    print(f"{out}: {starts.described}")
