"""The recipes that come with Flywheel.

`float32` is what the converter writes for the student as trained: the yardstick.
All others are made compact and slim, which changes no answer.
"""

from __future__ import annotations

from custom_components.tflite_quantizer.recipe import Clustering, Edge, Recipe, Sparsity, Tables

_INTEGERS = {"weights": "int8", "activations": "int8", "ranges": "aware"}
_SMALL = {"weights": "int8", "least_elements": 64}
_HALF = Sparsity(share=0.5)

RECIPES = (
    Recipe(
        "float32",
        "float32",
        summary="The student as trained, as the converter writes it.",
        tables=Tables(layout="as_trained"),
        slim=False,
    ),
    Recipe("float32_compact", "float32", summary="The same in fewer operations and bytes."),
    Recipe("float16", "float16", summary="Weights stored in 16 bits, computed in 32."),
    Recipe(
        "dynamic_range",
        **_SMALL,
        summary="Weights and tables stored in 8 bits, activations float.",
    ),
    Recipe(
        "int8_ptq",
        "int8",
        "int8",
        "representative",
        "Dense layers in 8-bit integers, ranges from representative train rows.",
        least_elements=64,
    ),
    Recipe(
        "int8_qat",
        **_INTEGERS,
        summary="Dense layers in 8-bit integers, fine-tuned with simulated quantization.",
    ),
    Recipe(
        "int16x8",
        "int8",
        "int16",
        "representative",
        "Dense layers with 8-bit weights and 16-bit activations.",
    ),
    *(
        Recipe(
            f"pruned{share}_{schedule}",
            "float32",
            summary=f"{share} % of the hidden weights are zero, {how}; smaller when compressed.",
            sparsity=Sparsity(share=share / 100, schedule=schedule),
        )
        for share in (50, 80)
        for schedule, how in (
            ("constant", "from the first step"),
            ("polynomial", "more and more of them"),
        )
    ),
    Recipe(
        "sparse_2_4",
        "float32",
        summary="Two zeros in every four weights, as sparse accelerators want them.",
        sparsity=Sparsity(pattern="m_by_n"),
    ),
    Recipe(
        "sparse_block",
        "float32",
        summary="Half of the 4 x 1 blocks of hidden weights are zero.",
        sparsity=Sparsity(pattern="block", block=(4, 1)),
    ),
    *(
        Recipe(
            f"clustered{clusters}",
            "float32",
            summary=f"{clusters} distinct weights per hidden layer; smaller when compressed.",
            clustering=Clustering(clusters),
        )
        for clusters in (8, 16, 32)
    ),
    Recipe(
        "pruned50_int8",
        **_INTEGERS,
        summary="Half of the hidden weights are zero and stay so in 8-bit fine-tuning (PQAT).",
        sparsity=_HALF,
    ),
    Recipe(
        "clustered16_int8",
        **_INTEGERS,
        summary="16 distinct hidden weights that stay so in 8-bit fine-tuning (CQAT).",
        clustering=Clustering(16),
    ),
    Recipe(
        "pruned50_clustered16_int8",
        **_INTEGERS,
        summary="Pruned, clustered, fine-tuned in 8 bits; both stay (PCQAT).",
        sparsity=_HALF,
        clustering=Clustering(16),
    ),
    Recipe(
        "int8_qat_tables",
        **_INTEGERS,
        summary="8-bit fine-tuning with rare text values merged and the embedding half as wide.",
        tables=Tables(coverage=0.98, width=2),
    ),
    Recipe(
        "dynamic_range_tables",
        **_SMALL,
        summary="8-bit weights, rare text values merged, the embedding half as wide.",
        tables=Tables(coverage=0.98, width=2),
    ),
    Recipe(
        "dynamic_range_hashed",
        **_SMALL,
        summary="The same with rare text values hashed to eight rows.",
        tables=Tables(coverage=0.98, width=2, buckets=8),
    ),
    *(
        Recipe(
            f"edge_{compute}_int{bits}",
            f"int{bits}",
            summary=f"Dense weights in {bits} bits by ai-edge-quantizer, {how}.",
            edge=Edge(compute),
            least_elements=64,
        )
        for bits in (8, 4)
        for compute, how in (
            ("dynamic", "computed in integers with ranges found at run time"),
            ("weight_only", "widened to float before use"),
        )
    ),
    Recipe(
        "edge_blockwise_int4",
        "int4",
        summary="Dense weights in 4 bits by ai-edge-quantizer, one scale for every 32 of a row.",
        edge=Edge(block=32),
        least_elements=64,
    ),
)
