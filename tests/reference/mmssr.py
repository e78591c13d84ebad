"""mmSSR's selection rule as described (arXiv 2503.13383), row by row, from the start each turn."""

from __future__ import annotations


def select(scores, labels, n, thr=0, key=None):
    """Return [(row, capability, label)] in the order picked; `first n` of it is the exact budget.

    Args:
        scores: for every capability, in order, a list of N scores, None for none.
        labels: (N,) lists of labels, the first is primary.
        n: rows wanted.
        thr: rows must score more.
        key: (N,) what settles equal scores, low first; by default the row's number.
    """
    key = range(len(labels)) if key is None else key
    picked, candidates, names = [], set(range(len(labels))), list(range(len(scores)))
    while len(picked) < n:
        if not names:
            raise ValueError("infeasible")
        q = max((n - len(picked)) // len(names), 1)
        for c in list(names):
            q = min(q, n - len(picked))
            order = [i for i in candidates if scores[c][i] is not None and scores[c][i] > thr]
            order.sort(key=lambda i: (-scores[c][i], key[i]))
            if not order:
                names.remove(c)
                continue
            got = pick(order, labels, q)
            candidates -= {row for row, _ in got}
            picked += [(row, c, label) for row, label in got]
            if len(picked) >= n:
                break
    return picked


def pick(order, labels, q):
    """Return [(row, label)]: q rows shared over bins, the smallest first.

    Args:
        order: rows, best first.
        labels: of every row.
        q: rows wanted.
    """
    pairs = []
    for position in range(max(len(labels[i]) for i in order)):
        pairs += [(i, labels[i][position]) for i in order if len(labels[i]) > position]
    bins = {}
    for i, label in pairs:
        bins.setdefault(label, []).append(i)
    share, debt, got = max(q // len(bins), 1), 0, []
    for label in sorted(bins, key=lambda label: (len(bins[label]), label)):
        if len(got) >= q:
            break
        available = [i for i in bins[label] if i not in {row for row, _ in got}]
        t = min(share + debt, len(available))
        debt = max(share + debt - len(available), 0)
        got += [(i, label) for i in available[:t]]
    return got


def tied(scores, labels, picked):
    """Return, for each pick, whether a row left out ranks like it in that bin, for that capability.

    Args:
        scores: as for `select`.
        labels: as for `select`.
        picked: from `select`.
    """
    chosen = {row for row, _, _ in picked}

    def like(i, c, label, level):
        return label in labels[i] and (labels[i].index(label), scores[c][i]) == level

    found = []
    for row, c, label in picked:
        level = (labels[row].index(label), scores[c][row])
        left = (i for i in range(len(labels)) if i not in chosen)
        found.append(any(like(i, c, label, level) for i in left))
    return found
