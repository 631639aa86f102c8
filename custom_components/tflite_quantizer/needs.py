"""What a recipe needs of a model, said before any process is started. Imports no TensorFlow."""

from __future__ import annotations

from custom_components.tflite_quantizer import edge
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.sensitivity import LAST, TABLE, layers
from models.options import NetworkOptions
from models.spec import ModelSpec

#: Below this a fine-tuning pass has too few steps for a schedule to work on.
_LEAST_TRAIN_ROWS = 32


def reason_to_skip(
    recipe: Recipe, spec: ModelSpec, options: NetworkOptions, train_rows: int
) -> str | None:
    """Why the recipe cannot work on this model: one sentence that names the cause.

    Args:
      recipe: What is asked for.
      spec: The model's contract.
      options: The network's shape.
      train_rows: Rows to calibrate and to fine-tune on.

    Returns:
      `SKIPPED: <recipe> needs ...`, or None when nothing stands in the way.
    """
    for cause in (
        _needs_rows(recipe, train_rows),
        _needs_hidden(recipe, spec, options),
        _needs_width(recipe, spec, options),
        _needs_float_preprocessing(recipe, spec),
        _needs_categories(recipe, spec, options),
        _needs_layers(recipe, spec, options),
    ):
        if cause:
            return f"SKIPPED: {recipe.name} needs {cause}."
    return edge.reason_to_skip(recipe)


def _needs_layers(recipe: Recipe, spec: ModelSpec, options: NetworkOptions) -> str | None:
    known = layers(spec, options)
    unknown = [name for name in recipe.float_layers if name not in known]
    if unknown:
        return f"the layer `{unknown[0]}`, which is to stay float; there are {', '.join(known)}"
    chain = [name for name in known if name not in (TABLE, LAST)]
    integers = [place for place, name in enumerate(chain) if name not in recipe.float_layers]
    if recipe.activations != "float" and chain and not integers:
        return "a hidden layer to compute in integers, and `float_layers` names all of them"
    if recipe.ranges == "aware" and integers:
        between = [n for n in chain[integers[0] : integers[-1]] if n in recipe.float_layers]
        if between:
            return (
                f"`{between[0]}` to stay float, and it stands between layers that compute in "
                "integers: the converter makes it compute in integers too when ranges come from "
                "fine-tuning. `ranges: representative` can leave it out"
            )
    return None


def _needs_rows(recipe: Recipe, rows: int) -> str | None:
    if recipe.fine_tunes and rows < _LEAST_TRAIN_ROWS:
        return f"{_LEAST_TRAIN_ROWS} train rows to fine-tune on; there are {rows}"
    if recipe.ranges == "representative" and not rows:
        return "train rows to calibrate on; there are none"
    return None


def _needs_hidden(recipe: Recipe, spec: ModelSpec, options: NetworkOptions) -> str | None:
    blocks = recipe.sparsity is not None and recipe.sparsity.pattern == "block"
    if options.hidden or spec.image and not blocks:
        return None
    for does, what in (
        (recipe.sparsity, "to prune"),
        (recipe.clustering, "to cluster"),
        (recipe.activations != "float", "to compute in integers"),
    ):
        if does:
            return (
                f"a hidden layer {what}, and this network has none; its last layer stays in float, "
                "or it would have 256 answers at most"
            )
    return None


def _needs_width(recipe: Recipe, spec: ModelSpec, options: NetworkOptions) -> str | None:
    """Layers large enough for the pattern."""
    sparsity, clustering = recipe.sparsity, recipe.clustering
    shapes = _hidden_shapes(spec, options)
    if spec.image and not (sparsity and sparsity.pattern != "unstructured"):
        shapes = [*_convolution_shapes(spec, options), *shapes]
    for number, (inputs, units) in enumerate(shapes, 1):
        where = f"hidden layer {number} has {inputs} x {units} weights"
        if sparsity and sparsity.pattern == "m_by_n" and inputs < sparsity.n:
            return f"{sparsity.n} inputs per layer for groups of {sparsity.n}; {where}"
        if sparsity and sparsity.pattern == "block":
            high, wide = sparsity.block
            if inputs < high or units < wide:
                return f"layers of at least one block of {high} x {wide}; {where}"
        if clustering and inputs * units <= clustering.clusters:
            return f"more than {clustering.clusters} weights per layer to cluster; {where}"
    return None


def _hidden_shapes(spec: ModelSpec, options: NetworkOptions) -> list[tuple[int, int]]:
    """Inputs and units of each hidden layer; periodic vectors are as wide as the network's."""
    from_numbers = len(spec.numeric)
    if options.frequencies and spec.numeric:
        from_numbers += 8 * len(spec.numeric)
    if spec.image:
        from_numbers += options.blocks(spec.image.height, spec.image.width)[-1]
    widths = [from_numbers + len(spec.categorical) * options.embedding, *options.hidden]
    return list(zip(widths, widths[1:], strict=False))


def _convolution_shapes(spec: ModelSpec, options: NetworkOptions) -> list[tuple[int, int]]:
    """Inputs and filters of each convolution over all channels; the depthwise ones stay whole."""
    filters = options.blocks(spec.image.height, spec.image.width)
    under = 9 if options.convolution == "full" else 1
    first = (9 * spec.image.channels, filters[0])
    return [first, *((under * a, b) for a, b in zip(filters, filters[1:], strict=False))]


def _needs_float_preprocessing(recipe: Recipe, spec: ModelSpec) -> str | None:
    if recipe.activations != "int16":
        return None
    integers = [f for f in spec.categorical if f.dtype != "string"]
    numbers = [f.name for f in (*spec.numeric, *integers)]
    if not numbers:
        return None
    return (
        "inputs that are no raw numbers, and `" + numbers[0] + "` is one: with 16-bit activations "
        "the converter cannot leave the preprocessing in float, and all columns would share one "
        "scale"
    )


def _needs_categories(recipe: Recipe, spec: ModelSpec, options: NetworkOptions) -> str | None:
    tables = recipe.tables
    if tables.width is not None:
        if not spec.categorical:
            return "categorical features, whose embedding it narrows; this model has none"
        if tables.width >= options.embedding:
            wide = f"this network's is {options.embedding} wide"
            return f"an embedding wider than {tables.width}; {wide}"
    if tables.coverage < 1.0 and not any(f.dtype == "string" for f in spec.categorical):
        return "text categories, whose rare values it merges; this model has none"
    return None
