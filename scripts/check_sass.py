#!/usr/bin/env python3
"""Checks the machine code of the Hopper kernels of attention, the CCA mix and the products of
experts: their products are tensor-core instructions that run asynchronously, and their loops do not
touch local memory.

  scripts/check_sass.py FILE...     objects, libraries or programs with sm_90a code

Prints a line per kernel. Exit 0: all well; 1: a kernel is not; 2: no kernel, or no cuobjdump.
CUOBJDUMP names the disassembler, by default the one in PATH.
"""
import os
import re
import shutil
import subprocess
import sys

KERNEL = re.compile(r"\tFunction : (\S*(?:sm90\S*(?:attention_(?:forward|backward)|"
                    r"grouped_gemm)|3cca\d+(?:fused_(?:forward|backward)|correlate))\S*)")
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?);")
BRANCH = re.compile(r"\bBRA\b.*?0x([0-9a-f]+)")


def kernels_of(tool, path):
    """[(name, [(address, instruction)])] of every Hopper kernel in a file."""
    text = subprocess.run([tool, "-sass", path], capture_output=True, text=True, check=True).stdout
    kernels, code = [], None
    for line in text.split("\n"):
        if "\tFunction : " in line:
            found = KERNEL.search(line)
            code = [] if found else None
            if found:
                kernels.append((found[1], code))
        elif code is not None:
            found = INSTRUCTION.search(line)
            if found:
                code.append((int(found[1], 16), found[2]))
    return kernels


def product_loops(code):
    """Bodies of the innermost loops that contain products. What stands behind the last EXIT are the
    unlikely sides of branches, which jump back and are no loops."""
    spans = []
    end = max((address for address, text in code if re.search(r"\bEXIT\b", text)), default=0)
    for address, text in code:
        if address > end:
            break
        branch = BRANCH.search(text)
        if branch and int(branch[1], 16) < address:
            spans.append((int(branch[1], 16), address))
    bodies = [[text for at, text in code if low <= at <= high] for low, high in spans]
    found = [(span, body) for span, body in zip(spans, bodies) if any("HGMMA" in t for t in body)]
    return [body for span, body in found
            if not any(other != span and span[0] <= other[0] and other[1] <= span[1]
                       for other, _ in found)]


def faults_of(code):
    """What is wrong with a kernel, and a summary."""
    products = sum("HGMMA" in text for _, text in code)
    waits = sum("WARPGROUP.DEPBAR.LE gsb0, 0x0" in text for _, text in code)
    loops = product_loops(code)
    local = sum(bool(re.search(r"\b(LDL|STL)\b", text)) for body in loops for text in body)
    faults = []
    if products == 0:
        faults.append("no HGMMA")
    if not loops:
        faults.append("no loop with products")
    if waits * 2 > products:
        faults.append("products are serialised")
    if local:
        faults.append(f"{local} accesses to local memory in loops with products")
    return faults, f"{products} products, {waits} waits, {len(loops)} loops with products"


def main(paths):
    tool = os.environ.get("CUOBJDUMP") or shutil.which("cuobjdump")
    if not paths or not tool:
        print(__doc__ if not paths else "check_sass: no cuobjdump in PATH; set CUOBJDUMP")
        return 2
    kernels = [kernel for path in paths for kernel in kernels_of(tool, path)]
    bad = 0
    for name, code in kernels:
        faults, summary = faults_of(code)
        bad += bool(faults)
        print(f"{'FAIL' if faults else 'ok  '} {name}: {'; '.join(faults + [summary])}")
    print(f"check_sass: {len(kernels)} kernels, {bad} bad")
    return 2 if not kernels else 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
