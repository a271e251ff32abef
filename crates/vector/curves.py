#!/usr/bin/env python3
"""Draws recall against speed from what `bench.py compare` has left, a panel a data set:

    crates/vector/curves.py ~/.cache/nodedb-ann/results/*/compare.json > docs/pictures/vector-curves.svg

A point is the median over the rounds, one query a call, queries per CPU second. Needs nothing but Python.
"""
import json
import math
import statistics
import sys

COLOURS = ['#0b6e4f', '#8d99ae', '#d1495b', '#edae49', '#30638e', '#6a4c93', '#996633', '#e07a5f', '#3d405b', '#81b29a', '#b5838d']
WIDTH, HEIGHT, MARGIN = 420, 300, 46
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


def points(peer):
    """Recall and speed by setting, the settings in order."""
    by_setting = {}
    for turn in peer.get('rounds', []):
        for point in turn:
            key = json.dumps(point['setting'])
            by_setting.setdefault(key, []).append((point['recall'], point['single']['cpu']))
    found = [tuple(statistics.median(x) for x in zip(*several)) for several in by_setting.values()]
    return sorted(p for p in found if p[0] >= 0.8)


def panel(data, left, top, colours):
    curves = {name: points(peer) for name, peer in data['results'].items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    speeds = [speed for curve in curves.values() for _, speed in curve]
    low, high = math.log(min(speeds)), math.log(max(speeds))
    far = -math.log(1 - 0.9985)
    near = -math.log(1 - 0.8)

    def place(recall, speed):
        x = left + MARGIN + (min(-math.log(1 - min(recall, 0.9985)), far) - near) / (far - near) * (WIDTH - 2 * MARGIN)
        return x, top + HEIGHT - MARGIN - (math.log(speed) - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    out = [f'<text x="{left + WIDTH / 2}" y="{top + 24}" text-anchor="middle" font-weight="bold">{data["data"]}</text>']
    for recall in RECALLS:
        x, _ = place(recall, math.exp(low))
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + MARGIN}" y2="{top + HEIGHT - MARGIN}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.1f}" y="{top + HEIGHT - MARGIN + 16}" text-anchor="middle">{recall}</text>')
    speed = 10 ** math.ceil(low / math.log(10))
    for value in sorted({speed // 2, speed, speed * 2, speed * 5, speed * 10, speed * 20, speed * 50}):
        if low <= math.log(max(value, 1)) <= high:
            _, y = place(0.8, value)
            out.append(f'<line x1="{left + MARGIN}" x2="{left + WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(f'<text x="{left + MARGIN - 4}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    for name, curve in curves.items():
        line = ' '.join('{:.1f},{:.1f}'.format(*place(*point)) for point in curve)
        width = 2.5 if name == 'cmd' else 1.3
        out.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="{width}"/>')
    return out


def main():
    sets = [json.load(open(path)) for path in sys.argv[1:]]
    names = sorted({name for data in sets for name in data['results']}, key=lambda name: (name != 'cmd', name))
    colours = dict(zip(names, COLOURS))
    rows = (len(sets) + 1) // 2
    body = []
    for n, data in enumerate(sets):
        body += panel(data, n % 2 * WIDTH, n // 2 * HEIGHT, colours)
    for n, name in enumerate(names):
        x, y = 40 + n * 120, rows * HEIGHT + 16
        body.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colours[name]}"/>')
        body.append(f'<text x="{x + 15}" y="{y}">{"nodedb" if name == "cmd" else name}</text>')
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT + 30}" '
          'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>')
    print('\n'.join(body))
    print('</svg>')


main()
