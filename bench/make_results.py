#!/usr/bin/env python3
"""Makes bench/RESULTS.md from the JSON files in bench/results/.

Kinds of file: Google Benchmark's (gorgon_bench --benchmark_out=F), those of bench/compare_pytorch.py, compare_llama_cpp.py,
head_forms.py, compare_ranks.py, time_to_good_heads.py, gradient_filter.cpp and gpu.sh, and timings of whole commands
({"command", "device", "timings": [{"what", "seconds", "cpu_seconds"}], "versions"}). What has no file is not measured, and
the page says so.

  python bench/make_results.py            # writes RESULTS.md
  python bench/make_results.py FILE.json  # shows the part of one file
"""
import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def number(value, digits=1):
    return f"{value:,.{digits}f}" if value < 1000 else f"{value:,.0f}"


def percent(part):
    return f"{100 * part:.0f} %"


def head(data, more=""):
    return [f"Device: {data['device']}. Command: `{data['command']}`{more}", ""]


def table(columns, rows):
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def kernels(data):
    context = data["context"]
    lines = [f"Device: {context.get('device', context['num_cpus'])}. Command: `{context.get('command', context['executable'])}`"
             f" ({context['date'][:10]}). Peaks are measured in the same run: cache-sized products, and a copy far larger than the caches.",
             "", "| benchmark | time | CPU time | rate | share of the peak |", "|---|---|---|---|---|"]
    for row in data["benchmarks"]:
        if row.get("error_occurred"):
            continue
        unit, rate = row["time_unit"], ""
        for name in ["GFLOP/s", "GB/s", "tokens/s"]:
            if name in row:
                rate = f"{number(row[name])} {name}"
        share = f"{100 * row['share_of_peak']:.0f} %" if "share_of_peak" in row else ""
        lines.append(f"| {row['name'].replace('/real_time', '')} | {number(row['real_time'], 2)} {unit} |"
                     f" {number(row['cpu_time'], 2)} {unit} | {rate} | {share} |")
    return lines


def comparison(data):
    lines = head(data) + table(
        ["program", "tokens/s", "tokens per CPU second", "peak memory", "taken by other programs"],
        [[name, f"{run['tokens_per_s']:.0f}", f"{run['tokens_per_cpu_s']:.0f}", f"{run['peak_rss_bytes'] / 2**30:.2f} GiB",
          percent(run["share_of_other_programs"])] for pair in data["pairs"] for name, run in pair.items()])
    for style, ratio in data["ratios"].items():
        peer = data["pairs"][0][style]
        versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
        text = (f"Against {style} PyTorch ({versions}, {peer['optimizer']}): **{ratio['speed']:.2f}** times the tokens per second"
                f" ({ratio['speed_by_cpu_time']:.2f} by CPU time), {percent(ratio['memory'])} of the memory")
        if "prefill_tokens_per_s" in ratio:
            text += (f"; the backbone alone {ratio['prefill_tokens_per_s']:.2f} times"
                     f" ({ratio['prefill_tokens_per_cpu_s']:.2f} by CPU time)")
        lines += ["", text + "."]
    return lines


def timings(data):
    return head(data) + table(["what", "wall", "CPU"],
                              [[row["what"], f"{number(row['seconds'])} s", f"{number(row['cpu_seconds'])} s"] for row in data["timings"]])


def ranks(data):
    def efficiency(row):
        found = data["efficiency"].get(row["what"].removeprefix("a step: "))
        return "" if found is None else f"{found:.2f}"

    return head(data) + table(["what", "median", "efficiency"],
                              [[row["what"], f"{number(row['seconds'], 2)} s", efficiency(row)] for row in data["timings"]])


def forms(data):
    return head(data, f". Making the cache of {data['states']:,} states: {number(data['cache_s'])} s.") + table(
        ["heads", "wall", "CPU time", "steps alone", "taken by other programs", "peak memory", "heads", "export", "accepted length (chain)"],
        [[f"{row['linear']}, {row['vocab']}", f"{number(row['train_s'])} s", f"{number(row['train_cpu_s'])} s", f"{number(row['heads_s'])} s",
          percent(row["share_of_other_programs"]), f"{row['peak_bytes'] / 2**30:.2f} GiB", f"{row['heads_bytes'] / 2**20:.1f} MiB",
          f"{row['export_bytes'] / 2**20:.1f} MiB", f"{row['chain_tau']:.3f}"] for row in data["forms"]])


def decoding(data):
    lines = head(data) + table(
        ["round", "gorgon, tokens/s", "llama.cpp, tokens/s", "ratio"],
        [[str(index), number(pair["gorgon"]["tokens_per_s"]), number(pair["llama_cpp"]["tokens_per_s"]), f"{ratio:.2f}"]
         for index, (pair, ratio) in enumerate(zip(data["rounds"], data["ratios"]), 1)])
    version = data["rounds"][0]["llama_cpp"]["version"]
    return lines + ["", f"Against llama-cpp-python {version}: **{data['ratio']:.2f}** times the tokens per second (median)."]


def good_heads(data):
    lines = head(data) + table(
        ["program", "in all", "CPU time", "heads", "CPU time of heads", "taken by other programs", "chain tau"],
        [[name, *(f"{number(run[key])} s" for key in ("seconds", "cpu_s", "heads_s", "heads_cpu_s")), percent(run["share_of_other_programs"]),
          f"{data['tau'][name]:.3f}"] for pair in data["good_heads"] for name, run in pair.items()])
    sooner = data["sooner"]
    return lines + ["", f"Heads of tau >= {data['goal']}: **{sooner['seconds']:.1f}** times sooner in all ({sooner['cpu_s']:.1f} by CPU time),"
                    f" **{sooner['heads_s']:.1f}** times in the heads' part ({sooner['heads_cpu_s']:.1f} by CPU time)."]


def gradient_filter(data):
    return head(data, f". {data['data']}.") + table(
        ["steps trained", "threshold", "tokens kept", "error of the Linear's gradient", "of the ResBlock's", "backward pass", "without"],
        [[str(row["steps"]), f"{row['threshold']:g}", f"{row['tokens_kept']:,}", f"{100 * row['error_of_linear']:.2f} %",
          f"{100 * row['error_of_resblock']:.1f} %", f"{row['backward_ms']:.0f} ms", f"{row['backward_ms_without']:.0f} ms"]
         for row in data["gradient_filter"]])


def answers(data):
    lines = head(data) + table(
        ["round", "prompts", "gorgon, whole process", "transformers, generate() alone", "ratio"],
        [[str(index), str(pair["prompts"]), f"{number(pair['gorgon']['seconds'])} s", f"{number(pair['transformers']['seconds'])} s", f"{ratio:.2f}"]
         for index, (pair, ratio) in enumerate(zip(data["rounds"], data["ratios"]), 1)])
    lines += ["", f"**{data['ratio']:.2f}** times as fast (median)."]
    return lines + ([data["note"]] if "note" in data else [])


def lossless(data):
    def tau(length):
        return f"{length['tau']:.3f} ({length['ci95'][0]:.3f}-{length['ci95'][1]:.3f})"

    return head(data, f". Heads: {data['heads']}.") + table(
        ["prompts from", "prompts", "tokens", "other tokens", "other steps", "chain, tokens a step", "tree"],
        [[run["prompts_from"], str(run["prompts"]), f"{run['tokens']:,}", str(run["prompts_with_other_tokens"]), str(run["prompts_with_other_steps"]),
          tau(run["chain_simulated"]), f"{tau(run['tree_measured'])}, {run['tree']['nodes']} nodes"] for run in data["runs"]])


def evaluation(data):
    """`gorgon tree` and `gorgon eval` on held-out prompts: the drafts, break-even, the verdict."""
    found = data["evaluation"]
    names = {"plain": "plain", "medusa": "heads", "lookup": "lookup", "both": "both"}
    tree = f"{data['tree']['nodes']} nodes of {data['tree']['prompts']} calibration prompts: {', '.join(map(str, data['tree']['paths']))}"
    lines = head(data, f". Heads: {data['heads']}. Tree: {tree}.")
    lines += [f"{found['prompts']} prompts, {found['tokens']:,} tokens, {found['dtype']}; speeds over the first {found['timed_prompts']}.", ""]

    def draft(key):
        d = found[key]
        return [names[key], f"{d['tau']:.3f} ({d['tau_ci95'][0]:.3f}-{d['tau_ci95'][1]:.3f})", f"{d['tokens_per_s']:.1f}",
                f"{d['tokens_per_s_range'][0]:.1f}-{d['tokens_per_s_range'][1]:.1f}", f"{d['latency_mean_s']:.3f} s", f"{d['latency_p90_s']:.3f} s",
                f"{d['overhead']:.2f}", f"{d['speedup']:.2f}", f"{100 * d['exact_match']:.1f} %"]

    def batch(b):
        gets = next(found[key]["tau"] for key, name in names.items() if name == b["draft"])
        return [str(b["batch"]), b["draft"], f"{b['plain_tokens_per_s']:.1f}", f"{b['tokens_per_s']:.1f}", f"{b['break_even_tau']:.2f}",
                f"{gets:.2f}", f"{b['occupancy']:.1f}"]

    lines += table(["draft", "tokens a step", "tokens/s", "slowest-fastest", "latency, mean", "p90", "step cost", "speed-up", "exact"], map(draft, names))
    lines += ["", *table(["batch", "draft", "plain tokens/s", "with it", "needs, tokens a step", "gets", "at a time"], map(batch, found["batches"]))]
    lines += ["", *(f"- {line}" for line in found["verdict"])]
    return lines + (["", data["note"]] if "note" in data else [])


def rounds(data):
    return answers(data) if "transformers" in data.get("versions", {}) else decoding(data)


NOT_MEASURED = "not measured"
GPU_MODELS = ("zephyr-7b", "llama-3-8b", "smollm2-135m")
GPU_SHAPES = [(tokens, length, share) for tokens in (4096, 16384) for length, share in ((256, 1.0), (256, 0.25), (1024, 1.0), (2048, 1.0))]


def gpu(data):
    """A file of bench/gpu.sh. Every row that the script is for has its place; what the file does not hold is not measured."""
    results = data["results"]

    def find(what, **fields):
        return next((r for r in results if r["what"] == what and all(r.get(k) == v for k, v in fields.items())), {})

    def value(row, key, unit="", scale=1.0, digits=1):
        return f"{number(scale * row[key], digits)}{unit}" if key in row else row.get("not_measured") or row.get("note") or NOT_MEASURED

    def times(own, peer):
        return f"{own['tokens_per_s'] / peer['tokens_per_s']:.2f}" if "tokens_per_s" in own and "tokens_per_s" in peer else NOT_MEASURED

    machine, adamw, job, tests = (find(w) for w in ("machine", "adamw_8bit", "reference_job", "op_tests"))
    bandwidth = {"share": adamw["bytes_per_s"] / machine["copy_bytes_per_s"]} if machine and adamw else {}
    clocks = data["clocks"]
    lines = [f"Device: {data['device'] or 'none'}, driver {data['driver'] or 'none'}, clocks {clocks['sm'] or '?'} of {clocks['max_sm'] or '?'},"
             f" toolkit {data['toolkit'] or 'none'}. Command: `{data['made_by']}` at {data['commit'][:10]} ({data['date'][:8]}).", "",
             "| what | measured |", "|---|---|",
             f"| copy on the device | {value(machine, 'copy_bytes_per_s', ' GB/s', 1e-9)} |",
             f"| product of 8,192 in bf16 | {value(machine, 'bf16_flop_per_s', ' TFLOP/s', 1e-12)} |",
             f"| 8-bit AdamW | {value(adamw, 'bytes_per_s', ' GB/s', 1e-9)}, {value(bandwidth, 'share', ' %', 100, 0)} of the copy |",
             f"| reference job, {job.get('model', 'zephyr-7b')} | {value(job, 'seconds', ' s')} |"]
    failed = ": " + ", ".join(tests["failed_tests"]) if tests.get("failed_tests") else ""
    lines.append(f"| op tests on the device | {tests['tests']} run, {tests['failed']} failed{failed} |" if "tests" in tests
                 else f"| op tests on the device | {find('tests').get('note', NOT_MEASURED)} |")
    for kind in ("f32", "bf16"):
        steps = find("bitsandbytes", type=kind)
        lines.append(f"| 8-bit AdamW against bitsandbytes' kernel, {kind} | "
                     + (f"{100 * steps['codes_equal']:.3f} % of codes equal, the rest within {steps['worst_code']}: "
                        f"{'agrees' if steps['agrees'] else 'does not agree'} |" if steps
                        else f"{find('bitsandbytes-' + kind).get('note', NOT_MEASURED)} |"))
    for tool in ("memcheck", "racecheck", "initcheck"):
        lines.append(f"| compute-sanitizer {tool} | {find(tool).get('note', NOT_MEASURED)} |")
    for model in GPU_MODELS:
        loss = find("cross_entropy", model=model)
        lines.append(f"| cross-entropy of {model}, time of its products alone | {value(loss, 'share_of_products', ' %', 100, 0)} |")
    for what, title in (("backbone_fp8", "backbone in fp8 against bf16"), ("overlap_backbone", "steps with overlap_backbone against without")):
        for model in GPU_MODELS:
            for tokens in (4096, 16384):
                lines.append(f"| {title}, {model}, {tokens:,} tokens | {value(find(what, model=model, tokens=tokens), 'gain', ' times as fast', 1, 2)} |")
    lines += ["", "| model | tokens a step | sequence | labels | tokens/s | products alone | backbone's products alone | against tuned | against published |",
              "|---|---|---|---|---|---|---|---|---|"]
    for model in GPU_MODELS:
        for tokens, length, share in GPU_SHAPES:
            shape = {"model": model, "tokens": tokens, "length": length, "supervised_share": share}
            own = find("step", **shape)
            tuned, published = (find("peer", style=style, **shape) for style in ("tuned", "published"))
            lines.append(f"| {model} | {tokens:,} | {length:,} | {100 * share:.0f} % | {value(own, 'tokens_per_s')} |"
                         f" {value(own, 'share_of_products', ' %', 100, 0)} | {value(own, 'backbone_share_of_products', ' %', 100, 0)} |"
                         f" {times(own, tuned)} | {times(own, published)} |")
    peers = sorted({f"{r['style']}: {r['backbone']}, {r['optimizer']}, {r['loss']}, torch {r['torch']}" for r in results if r["what"] == "peer"})
    return lines + ["", "Peers: " + ("; ".join(peers) or NOT_MEASURED) + "."]


# What a kind of file has on its first level, and what makes a section of it; the first that fits counts.
KINDS = (("benchmarks", kernels), ("holds", lossless), ("evaluation", evaluation), ("efficiency", ranks), ("pairs", comparison),
         ("rounds", rounds), ("forms", forms), ("good_heads", good_heads), ("gradient_filter", gradient_filter), ("results", gpu))


def section(path):
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    title = data.get("title") or os.path.basename(path)[:-5].replace("_", " ")
    make = next((make for key, make in KINDS if key in data), timings)
    return [f"## {title}", "", *make(data), ""]


def main():
    if len(sys.argv) > 1:
        print("\n".join(section(sys.argv[1])))
        return
    lines = ["# Measured speeds", "", "Made by bench/make_results.py from bench/results/; what was tried is in docs/performance.md.", ""]
    for path in sorted(glob.glob(os.path.join(HERE, "results", "*.json"))):
        lines += section(path)
    if not glob.glob(os.path.join(HERE, "results", "gpu*.json")):
        lines += ["## GPU", "", "Not measured.", ""]
    with open(os.path.join(HERE, "RESULTS.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
