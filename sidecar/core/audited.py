"""What did audited calls say of the goal? Its sums, read from a cell's totals."""

from sidecar.core.cells import Cell
from sidecar.core.pairing import is_clustered
from sidecar.core.plan import Goal
from sidecar.core.stats.audit import AdjustedMean, AuditSums
from sidecar.core.stats.means import UnitTotals, ratio_variance


def labelled(cell: Cell, goal: Goal) -> int:
    """Count the audited calls that have a value of the goal."""
    if goal.metric == "agreement":
        return cell.count("labelled")
    return cell.value(goal.metric).n


def audit_sums(cell: Cell, goal: Goal) -> AuditSums:
    """Read the sums that the goal's weighted mean needs.

    Agreement has a proxy, the judge's confidence; a feedback has none.
    """
    audit = cell.audit
    if goal.metric == "agreement":
        return AuditSums(
            n=audit.audit_n,
            f=audit.audit_f,
            ff=audit.audit_ff,
            w=audit.w,
            wy=audit.wy,
            wf=audit.wf,
            wyf=audit.wyf,
            wff=audit.wff,
            w2=audit.w2,
            w2y=audit.w2y,
            w2yy=audit.w2y,
            w2f=audit.w2f,
            w2yf=audit.w2yf,
            w2ff=audit.w2ff,
        )
    value = cell.value(goal.metric)
    return AuditSums(
        n=max(audit.audit_n, value.n),
        w=value.w,
        wy=value.wv,
        w2=value.w2,
        w2y=value.w2v,
        w2yy=value.w2vv,
    )


def unit_totals(cell: Cell, goal: Goal) -> UnitTotals:
    """Read the moments over units of the goal's weighted sums."""
    units = min(cell.units.units, labelled(cell, goal))
    if goal.metric == "agreement":
        audit, moments = cell.audit, cell.units
        return UnitTotals(units, audit.w, audit.wy, moments.u_wy2, moments.u_wy_w, moments.u_w2)
    value = cell.value(goal.metric)
    return UnitTotals(units, value.w, value.wv, value.u_wv2, value.u_wv_w, value.u_w2)


def design_effect(cell: Cell, goal: Goal, mean: AdjustedMean) -> float:
    """By what factor the likeness of a unit's calls enlarges a variance; at least 1.

    The cluster-robust variance of the weighted mean over the one for independent calls.
    Exactly 1 where every call is a unit.

    Source:
        Kish, "Survey sampling" (1965), section 5.4; Deng, Knoblich & Lu, KDD 2018.
    """
    if not is_clustered(cell):
        return 1.0
    totals = unit_totals(cell, goal)
    clustered = ratio_variance(totals)
    if clustered is None or mean.plain.variance == 0:
        # Nothing varied yet, so take a unit's calls to be one and the same call.
        squares = audit_sums(cell, goal).w2
        return max(totals.sum_n2 / squares, 1.0) if squares > 0 else 1.0
    return max(clustered / mean.plain.variance, 1.0)
