import os, numpy as np
from benchmarks.decisions.rules._estimate import estimate

V = os.environ.get("V", "1")
W = float(os.environ.get("W", "10"))


def scores(sheet, places, step):
    a = sheet.asked
    stop = sheet.units(int(places[0]))
    start = stop - step * a.block
    if V == "4":
        start = 0
    g = a.gauges[a.objective]
    cost = (
        sheet.objective(places)
        if sheet.exact
        else (1 if g.better == "lower" else -1) * estimate(g, "", *sheet.pairs(a.objective, places, start))
    )
    miss = np.zeros(len(places))
    for l in sheet.limits:
        g = a.gauges[l.gauge]
        v = estimate(g, l.relative, *sheet.pairs(l.gauge, places, start))
        room = l.bound - v if l.op == "<=" else v - l.bound
        room[(places == sheet.base) & bool(l.relative)] = np.inf
        scale = g.high - g.low if g.kind == "mean" and l.relative != "ratio" else abs(l.bound)
        miss += np.maximum(-room / (scale or 1), 0)
    if V in "14":
        c = cost - cost.min()
        c = c / (c.max() or 1)
        return np.where(miss > 0, 2 + miss, c)
    b = abs(cost[places == sheet.base][0]) if (places == sheet.base).any() else abs(cost).max()
    return cost / b + W * miss
