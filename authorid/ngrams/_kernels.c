/* The kernels in C: the same functions as in `_kernels.py`, with the same answers to the bit. They are several times as
 * fast, and other Python threads run meanwhile. `authorid.ngrams.kernels.Kernels` documents them.
 *
 * A change here needs the same change in `_kernels.py`. Only the stable ABI of Python is used. Arguments are arrays
 * (contiguous buffers) and tuples of arrays. Whatever the arrays hold, nothing outside of them is read or written: order
 * and range are checked before any arithmetic on their contents. Other threads must not change them during a call, and
 * an array that is written must not overlap another one.
 */
#include "_kernels_arrays.h"
#include "_kernels_count.h"

/* ---- tfidf ---- */

#define FREQUENCY_KINDS 3

/* What `tfidf` reads and writes: `rows` are those of `indptr`, `scratch` is as long as the longest of them. */
typedef struct {
    const int32_t *indices;
    const int64_t *data, *indptr;
    const float *idf;
    const double *frequencies, *weights;
    const uint8_t *kinds;
    Py_ssize_t entries, rows, features, levels, views; /* `levels` counts have a frequency of each kind */
    double *scratch;
    float *values;
} TfIdf;

/* Both the root and the sum, which adds one entry after the other, are the same on every machine. */
static void compute_tfidf(const TfIdf *call)
{
    for (Py_ssize_t row = 0; row < call->rows; row++) {
        const int64_t start = call->indptr[row], count = call->indptr[row + 1] - start;
        const int32_t *indices = call->indices + start;
        const int64_t *data = call->data + start;
        const double *frequencies = call->frequencies + call->kinds[row % call->views] * call->levels;
        double sum = 0;
        for (int64_t i = 0; i < count; i++) {
            call->scratch[i] = frequencies[data[i]] * (double)call->idf[indices[i]];
            sum += call->scratch[i] * call->scratch[i];
        }
        const double norm = sqrt(sum), factor = call->weights[row % call->views] / (norm > 0 ? norm : 1.0);
        for (int64_t i = 0; i < count; i++) call->values[start + i] = (float)(call->scratch[i] * factor);
    }
}

/* Returns the length of the longest row, or -1 and an exception. */
static Py_ssize_t check_tfidf(const TfIdf *call)
{
    const Py_ssize_t longest = check_indptr("counts.indptr", call->indptr, call->rows + 1, call->entries);
    if (longest < 0) return -1;
    if (call->views < 1 || call->rows % call->views) {
        PyErr_SetString(PyExc_ValueError, "the rows of indptr are not those of whole texts");
        return -1;
    }
    if (check_indices("counts.indices", call->indices, call->entries, call->features) < 0) return -1;
    int valid = 1;
    for (Py_ssize_t view = 0; view < call->views; view++) valid = valid && call->kinds[view] < FREQUENCY_KINDS;
    if (!valid) {
        PyErr_Format(PyExc_ValueError, "kinds must be at least 0 and less than %d", FREQUENCY_KINDS);
        return -1;
    }
    for (Py_ssize_t i = 0; valid && i < call->entries; i++) valid = call->data[i] >= 0 && call->data[i] < call->levels;
    if (valid) return longest;
    PyErr_Format(PyExc_ValueError, "counts.data must be at least 0 and less than %zd", call->levels);
    return -1;
}

PyDoc_STRVAR(tfidf_doc, "tfidf($module, counts, idf, frequencies, weights, kinds, values, /)\n--\n\n"
                        "See authorid.ngrams.kernels.Kernels.");

static PyObject *tfidf(PyObject *module, PyObject *arguments)
{
    PyObject *idf, *frequencies, *weights, *kinds, *values, *result = NULL;
    CsrObjects matrix;
    Arrays arrays;
    TfIdf call = {.entries = -1, .rows = -1, .features = -1, .levels = -1, .views = -1};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "(OOO)OOOOO", &matrix.indices, &matrix.data, &matrix.indptr, &idf, &frequencies,
                          &weights, &kinds, &values) ||
        init_arrays(&arrays, 8) < 0)
        return NULL;
    if (get_array(&arrays, "counts.indices", matrix.indices, &INT32, READ, &call.entries, &call.indices) < 0 ||
        get_array(&arrays, "counts.data", matrix.data, &INT64, READ, &call.entries, &call.data) < 0 ||
        get_array(&arrays, "counts.indptr", matrix.indptr, &INT64, READ, &call.rows, &call.indptr) < 0 ||
        get_array(&arrays, "idf", idf, &FLOAT32, READ, &call.features, &call.idf) < 0 ||
        get_array(&arrays, "frequencies", frequencies, &FLOAT64, READ, &call.levels, &call.frequencies) < 0 ||
        get_array(&arrays, "weights", weights, &FLOAT64, READ, &call.views, &call.weights) < 0 ||
        get_array(&arrays, "kinds", kinds, &UINT8, READ, &call.views, &call.kinds) < 0 ||
        get_array(&arrays, "values", values, &FLOAT32, WRITE, &call.entries, &call.values) < 0)
        goto done;
    call.rows--; /* indptr has one element more */
    call.levels /= FREQUENCY_KINDS;
    const Py_ssize_t longest = check_tfidf(&call);
    if (longest < 0) goto done;
    call.scratch = malloc(((size_t)longest + 1) * sizeof(double));
    if (!call.scratch) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    compute_tfidf(&call);
    Py_END_ALLOW_THREADS
    result = Py_None;
    Py_INCREF(result);
done:
    release_arrays(&arrays);
    free(call.scratch);
    return result;
}

/* ---- accumulate_scores ---- */

#define ROWS_AHEAD 24 /* far enough ahead for memory to answer in time, near enough for the cache to keep the row */

/* sums[j] += values[i] * weights[indices[i], j], one i after the other, so that sums are the same on every machine. */
#define DEFINE_ADD_ROWS(name, type)                                                                                    \
    VECTORIZED                                                                                                         \
    static void name(const type *weights, const int32_t *indices, const float *values, Py_ssize_t count,               \
                     Py_ssize_t authors, float *sums)                                                                  \
    {                                                                                                                  \
        for (Py_ssize_t i = 0; i + 1 < count; i += 2) {                                                                \
            const type *one = weights + indices[i] * authors, *other = weights + indices[i + 1] * authors;             \
            const float first = values[i], second = values[i + 1];                                                     \
            for (Py_ssize_t k = i + ROWS_AHEAD; k < i + ROWS_AHEAD + 2 && k < count; k++) {                            \
                PREFETCH(weights + indices[k] * authors);                                                              \
                PREFETCH(weights + (indices[k] + (Py_ssize_t)1) * authors - 1);                                        \
            }                                                                                                          \
            for (Py_ssize_t j = 0; j < authors; j++)                                                                   \
                sums[j] = (sums[j] + first * (float)one[j]) + second * (float)other[j];                                \
        }                                                                                                              \
        if (count % 2) {                                                                                               \
            const type *last = weights + indices[count - 1] * authors;                                                 \
            for (Py_ssize_t j = 0; j < authors; j++) sums[j] += values[count - 1] * (float)last[j];                    \
        }                                                                                                              \
    }

DEFINE_ADD_ROWS(add_int8_rows, int8_t)
DEFINE_ADD_ROWS(add_float_rows, float)

/* What `accumulate_scores` reads and writes. A partial sum has at most `capacity` entries; `sorted_indices` and
 * `sorted_values` hold those that are not shared, and from position `capacity` on those that are.
 */
typedef struct {
    const int8_t *int8_weights; /* either these */
    const float *float_weights; /* or these */
    const uint8_t *shared;
    const int32_t *indices;
    const float *values;
    const int64_t *indptr;
    double *parts;
    Py_ssize_t features, entries, texts, views, authors, block, capacity;
    int32_t *sorted_indices;
    float *sorted_values, *sums;
} Accumulation;

/* Copy `count` entries, the shared ones behind the others, both in their order; returns how many are shared. */
static Py_ssize_t separate_shared(const Accumulation *call, int64_t start, Py_ssize_t count)
{
    const uint8_t *const shared = call->shared;
    const int32_t *const indices = call->indices + start;
    const float *const values = call->values + start;
    int32_t *const front = call->sorted_indices, *const behind = front + call->capacity;
    float *const first = call->sorted_values, *const second = first + call->capacity;
    Py_ssize_t done = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        /* Written to both, without a branch on which one is right: processors cannot predict it. */
        const int32_t index = indices[i];
        const float value = values[i];
        front[i - done] = index;
        first[i - done] = value;
        behind[done] = index;
        second[done] = value;
        done += shared[index] != 0;
    }
    return done;
}

/* Add the entries from `start` to `stop` to `part` [2, authors]. */
static void accumulate_part(const Accumulation *call, int64_t start, int64_t stop, double *part)
{
    const Py_ssize_t count = (Py_ssize_t)(stop - start), shared = separate_shared(call, start, count);
    for (int which = 0; which < 2; which++, part += call->authors) {
        const int32_t *indices = call->sorted_indices + (which ? call->capacity : 0);
        const float *values = call->sorted_values + (which ? call->capacity : 0);
        const Py_ssize_t own = which ? shared : count - shared;
        memset(call->sums, 0, (size_t)call->authors * sizeof(float));
        if (call->int8_weights)
            add_int8_rows(call->int8_weights, indices, values, own, call->authors, call->sums);
        else
            add_float_rows(call->float_weights, indices, values, own, call->authors, call->sums);
        for (Py_ssize_t j = 0; j < call->authors; j++) part[j] += (double)call->sums[j];
    }
}

/* A sum of floats ends at the end of every `block` entries of a text. */
static void accumulate_texts(const Accumulation *call)
{
    const Py_ssize_t views = call->views;
    for (Py_ssize_t text = 0; text < call->texts; text++) {
        const int64_t *own = call->indptr + text * views;
        for (int64_t first = own[0], last; first < own[views]; first = last) {
            last = own[views] - first > call->block ? first + call->block : own[views];
            for (Py_ssize_t view = 0; view < views; view++) {
                const int64_t start = own[view] > first ? own[view] : first;
                const int64_t stop = own[view + 1] < last ? own[view + 1] : last;
                if (start < stop)
                    accumulate_part(call, start, stop, call->parts + (text * views + view) * 2 * call->authors);
            }
        }
    }
}

static int get_weights(Arrays *arrays, PyObject *object, Accumulation *call, Py_ssize_t *authors)
{
    Py_buffer probe;
    if (PyObject_GetBuffer(object, &probe, PyBUF_FULL_RO) < 0) return -1;
    const int floats = probe.itemsize != 1;
    PyBuffer_Release(&probe);
    const Py_buffer *view = get_buffer(arrays, "weights", object, floats ? &FLOAT32 : &INT8, 2, READ);
    if (!view) return -1;
    call->features = view->shape[0];
    *authors = view->shape[1];
    call->float_weights = floats ? view->buf : NULL;
    call->int8_weights = floats ? NULL : view->buf;
    return 0;
}

static int get_parts(Arrays *arrays, PyObject *object, Accumulation *call, Py_ssize_t authors, Py_ssize_t length)
{
    const Py_buffer *view = get_buffer(arrays, "parts", object, &FLOAT64, 4, WRITE);
    if (!view) return -1;
    call->texts = view->shape[0];
    call->views = view->shape[1];
    call->authors = view->shape[3];
    call->parts = view->buf;
    if (call->views > 0 && view->shape[2] == 2 && authors > 1 && authors == call->authors && length > 0 &&
        (length - 1) % call->views == 0 && (length - 1) / call->views == call->texts)
        return 0;
    PyErr_SetString(PyExc_ValueError, "parts must be [texts, views, 2, authors]");
    return -1;
}

/* Sets the capacity for a partial sum, and allocates memory for it. */
static int allocate_accumulation(Accumulation *call, Py_ssize_t longest)
{
    call->capacity = longest < call->block ? longest : call->block;
    call->sums = malloc((size_t)call->authors * sizeof(float));
    call->sorted_indices = malloc((2 * (size_t)call->capacity + 1) * sizeof(int32_t));
    call->sorted_values = malloc((2 * (size_t)call->capacity + 1) * sizeof(float));
    if (call->sums && call->sorted_indices && call->sorted_values) return 0;
    PyErr_NoMemory();
    return -1;
}

PyDoc_STRVAR(accumulate_scores_doc, "accumulate_scores($module, weights, shared, vectors, parts, block, /)\n--\n\n"
                                    "See authorid.ngrams.kernels.Kernels.");

static PyObject *accumulate_scores(PyObject *module, PyObject *arguments)
{
    PyObject *weights, *shared, *parts, *result = NULL;
    CsrObjects matrix;
    Arrays arrays;
    Accumulation call = {.entries = -1};
    Py_ssize_t authors, length = -1, longest;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(OOO)On", &weights, &shared, &matrix.indices, &matrix.data, &matrix.indptr, &parts,
                          &call.block) ||
        init_arrays(&arrays, 6) < 0)
        return NULL;
    if (get_weights(&arrays, weights, &call, &authors) < 0 ||
        get_array(&arrays, "shared", shared, &UINT8, READ, &call.features, &call.shared) < 0 ||
        get_array(&arrays, "vectors.indices", matrix.indices, &INT32, READ, &call.entries, &call.indices) < 0 ||
        get_array(&arrays, "vectors.data", matrix.data, &FLOAT32, READ, &call.entries, &call.values) < 0 ||
        get_array(&arrays, "vectors.indptr", matrix.indptr, &INT64, READ, &length, &call.indptr) < 0 ||
        get_parts(&arrays, parts, &call, authors, length) < 0)
        goto done;
    if (call.block < 1) {
        PyErr_SetString(PyExc_ValueError, "block must be at least 1");
        goto done;
    }
    longest = check_indptr("vectors.indptr", call.indptr, length, call.entries);
    if (longest < 0 || check_indices("vectors.indices", call.indices, call.entries, call.features) < 0 ||
        allocate_accumulation(&call, longest) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    accumulate_texts(&call);
    Py_END_ALLOW_THREADS
    result = Py_None;
    Py_INCREF(result);
done:
    release_arrays(&arrays);
    free(call.sums);
    free(call.sorted_indices);
    free(call.sorted_values);
    return result;
}

static PyMethodDef methods[] = {
    {"count_ngrams", count_ngrams, METH_VARARGS, count_ngrams_doc},
    {"tfidf", tfidf, METH_VARARGS, tfidf_doc},
    {"accumulate_scores", accumulate_scores, METH_VARARGS, accumulate_scores_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels_c", "The kernels of the n-gram model in C.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels_c(void)
{
    return PyModuleDef_Init(&definition);
}
