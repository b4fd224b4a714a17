"""What scripts that draw share: matplotlib's pyplot, drawing to files alone."""
import sys


def load(program):
    """pyplot; None, having said on stderr where to get it, when this Python has no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        print(f"{program}: this Python has no matplotlib; scripts/plot_python.sh prints one that "
              "has", file=sys.stderr)
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    return pyplot
