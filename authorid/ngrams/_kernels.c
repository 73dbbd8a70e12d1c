/* The inner loops of the n-gram expert, as `authorid/ngrams/features.py` and `authorid/ngrams/vectorizer.py` have them in numpy: the same to the
 * bit, at several times the speed, and other threads run meanwhile.
 *
 *     count    texts -> rows of the expert, and how often each occurs
 *     weigh    how often rows occur -> their tf-idf
 *     add_up   rows -> sums of their weights
 *
 * Only the stable ABI of Python is used. Arrays come as C-contiguous buffers; whatever is in them, nothing outside of
 * them is read or written. Nobody may change them meanwhile, and what is written to must not be read from too.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__) && defined(__GLIBC__)
#define WIDEST __attribute__((target_clones("avx2", "default"))) /* chosen when the module is loaded */
#else
#define WIDEST
#endif

#if defined(__GNUC__)
#define SOON(address) __builtin_prefetch(address)
#define LOWEST(word) __builtin_ctzll(word)
#define ONES(word) __builtin_popcountll(word)
#else
#define SOON(address) ((void)0)
static int ONES(uint64_t word)
{
    int count = 0;
    for (; word; word &= word - 1) count++;
    return count;
}
#define LOWEST(word) ONES(((word) & (0 - (word))) - 1)
#endif

/* ---- arrays ---- */

/* The arrays of a call, held until `let_go`. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t taken, room;
} Arrays;

static int hold(Arrays *arrays, Py_ssize_t room)
{
    arrays->views = calloc((size_t)room, sizeof(Py_buffer));
    arrays->taken = 0;
    arrays->room = room;
    if (arrays->views) return 0;
    PyErr_NoMemory();
    return -1;
}

static void let_go(Arrays *arrays)
{
    while (arrays->taken) PyBuffer_Release(&arrays->views[--arrays->taken]);
    free(arrays->views);
}

/* Point `to` at the things of `size` bytes in an array; `*items` is how many there must be, or is told where it is -1. */
static int take(Arrays *arrays, PyObject *object, int writable, Py_ssize_t size, Py_ssize_t *items, const void *to)
{
    Py_buffer *view = &arrays->views[arrays->taken];
    if (arrays->taken == arrays->room) {
        PyErr_SetString(PyExc_SystemError, "more arrays than were counted");
        return -1;
    }
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_CONTIG : PyBUF_CONTIG_RO) < 0) return -1;
    arrays->taken++;
    if (view->itemsize != size || (uintptr_t)view->buf % (size_t)size || (*items >= 0 && view->len != *items * size)) {
        PyErr_SetString(PyExc_ValueError, "an array of the wrong kind or size");
        return -1;
    }
    *items = view->len / size;
    memcpy((void *)to, &view->buf, sizeof(void *));
    return 0;
}

/* ---- texts ---- */

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)
#define CAPITAL UINT64_C(0x9FB21C651E98DF25)
#define OF_SIZE UINT64_C(0xA24BAED4963EE407)
#define OF_VIEW UINT64_C(0xD6E8FEB86659FD93)
#define PROBES 64

/* What is known of bytes, [256] each, and of words: the rank of those that are common, by their hashes. */
typedef struct {
    const uint8_t *classes, *shapes, *spaces;
    const int32_t *table;
    const uint64_t *hashes;
    Py_ssize_t slots, common;
    int shift;
} Language;

/* A text taken apart: its bytes, and its words by where they start. Of those words and marks that are not white space,
 * `seen` of them: what stands for one as it is and where it is masked, and its rank.
 */
typedef struct {
    uint8_t *bytes, *masked;
    int32_t *starts, *ranks, *seen_ranks;
    uint64_t *plain, *shapes, *units;
    Py_ssize_t length, words, seen;
} Text;

/* One size of n-gram in one view. Bit `bucket & 63` of `marks[bucket >> 6]` says whether the bucket has a row, and `ranks`
 * how many rows of the view are those of buckets below `bucket & ~63`; the first row of the view is `base`.
 */
typedef struct {
    int words, keep, one, size;
    uint64_t salt;
    const uint64_t *marks;
    const uint32_t *ranks;
    Py_ssize_t places, base;
} Part;

static int32_t rank_of(const Language *language, uint64_t hash)
{
    uint64_t slot = hash >> language->shift;
    for (int probe = 0; probe < PROBES; probe++, slot++) {
        const int32_t rank = language->table[slot & (uint64_t)(language->slots - 1)];
        if (rank < 0 || rank >= language->common) break;
        if (language->hashes[rank] == hash) return rank;
    }
    return (int32_t)language->common;
}

/* Make one space of several characters of white space, and find the words. */
static void take_apart(const uint8_t *data, Py_ssize_t length, const Language *language, Text *text)
{
    text->length = 0;
    for (Py_ssize_t i = 0, again = 0; i < length; i++) {
        const int space = language->spaces[data[i]];
        if (space && again)
            text->bytes[text->length - 1] = ' ';
        else
            text->bytes[text->length++] = data[i];
        again = space;
    }
    text->words = text->seen = 0;
    for (Py_ssize_t i = 0; i < text->length;) {
        const uint8_t start = text->bytes[i], kind = language->classes[start];
        uint64_t hash = 0, power = GOLDEN;
        text->starts[text->words] = (int32_t)i;
        do {
            const uint8_t byte = text->bytes[i++];
            hash += ((uint64_t)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte) + 1) * power;
            power *= GOLDEN;
        } while (kind && i < text->length && language->classes[text->bytes[i]] == kind);
        const int32_t rank = text->ranks[text->words++] = kind ? rank_of(language, hash) : -1;
        text->plain[text->seen] = hash + (start >= 'A' && start <= 'Z' ? CAPITAL : 0);
        text->shapes[text->seen] = language->shapes[start];
        text->seen_ranks[text->seen] = rank;
        text->seen += !language->spaces[start];
    }
    text->starts[text->words] = (int32_t)text->length;
}

/* Fill in `masked` with what a view sees that keeps common words only; returns its length. */
static Py_ssize_t mask_words(const Text *text, const Language *language, const Part *part)
{
    uint8_t *to = text->masked;
    for (Py_ssize_t word = 0; word < text->words; word++) {
        Py_ssize_t i = text->starts[word], end = text->starts[word + 1];
        if (text->ranks[word] < part->keep)
            for (; i < end; i++) *to++ = text->bytes[i];
        else
            for (end = part->one ? i + 1 : end; i < end; i++) *to++ = language->shapes[text->bytes[i]];
    }
    return to - text->masked;
}

static uint64_t bucket_of(uint64_t key, uint64_t salt, int bits)
{
    key = (key ^ salt) * GOLDEN;
    key = (key ^ key >> 32) * GOLDEN;
    return key >> (64 - bits);
}

/* Both fill in `to` with the bucket of every n-gram of the text, and return how many there are: no more than bytes. */

static Py_ssize_t byte_grams(const Text *text, const Language *language, const Part *part, int bits, uint64_t *to)
{
    const uint8_t *bytes = part->keep < 0 ? text->bytes : text->masked;
    const Py_ssize_t length = part->keep < 0 ? text->length : mask_words(text, language, part);
    const uint64_t whole = part->size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * part->size) - 1;
    uint64_t key = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        key = (key << 8 | bytes[i]) & whole;
        if (i + 1 >= part->size) *to++ = bucket_of(key ^ (uint64_t)part->size * OF_SIZE, part->salt, bits);
    }
    return length < part->size ? 0 : length - part->size + 1;
}

static Py_ssize_t word_grams(const Text *text, const Part *part, int bits, uint64_t *to)
{
    const uint64_t *units = text->plain;
    Py_ssize_t count = 0;
    if (part->keep >= 0) {
        for (Py_ssize_t k = 0; k < text->seen; k++) {
            /* Without a branch on how common a word is, which nobody could predict. */
            const uint64_t masked = -(uint64_t)(text->seen_ranks[k] >= part->keep);
            text->units[k] = (text->shapes[k] & masked) | (text->plain[k] & ~masked);
        }
        units = text->units;
    }
    for (; count + part->size <= text->seen; count++) {
        uint64_t key = units[count] + (uint64_t)part->size;
        for (int place = 1; place < part->size; place++) key = key * GOLDEN + units[count + place];
        to[count] = bucket_of(key, part->salt, bits);
    }
    return count;
}

/* ---- count ---- */

#define SOONER 16 /* n-grams: far enough for memory to answer in time */

/* Rows of `count` buckets, one after the other where they have one; returns how many have. `rows` may be the buckets. */
WIDEST
static Py_ssize_t look_up(const Part *part, const uint64_t *buckets, Py_ssize_t count, uint64_t *rows)
{
    Py_ssize_t done = 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        const uint64_t bucket = buckets[k], word = bucket >> 6, mark = UINT64_C(1) << (bucket & 63);
        if (k + SOONER < count) {
            SOON(part->marks + (buckets[k + SOONER] >> 6));
            SOON(part->ranks + (buckets[k + SOONER] >> 6));
        }
        if (word >= (uint64_t)part->places) continue;
        /* Without a branch on whether there is one, which nobody could predict. */
        rows[done] = (uint64_t)part->base + part->ranks[word] + (uint64_t)ONES(part->marks[word] & (mark - 1));
        done += (part->marks[word] & mark) != 0;
    }
    return done;
}

/* Where the rows of a text go: each once, in ascending order. */
typedef struct {
    int32_t *counters;
    uint64_t *occurs;
    Py_ssize_t rows, views;
    const int64_t *bounds;
    int32_t *found;
    int64_t *counts, *edges;
    Py_ssize_t done, room;
} Tally;

static int empty(Tally *tally)
{
    Py_ssize_t view = 0;
    *tally->edges++ = tally->done;
    for (Py_ssize_t word = 0; word <= tally->rows >> 6; word++) {
        for (uint64_t left = tally->occurs[word]; left; left &= left - 1) {
            const Py_ssize_t row = (word << 6) + LOWEST(left);
            for (; view + 1 < tally->views && row >= tally->bounds[view + 1]; view++) *tally->edges++ = tally->done;
            if (tally->done == tally->room) return -1;
            tally->found[tally->done] = (int32_t)row;
            tally->counts[tally->done++] = tally->counters[row];
            tally->counters[row] = 0;
        }
        tally->occurs[word] = 0;
    }
    for (; view + 1 < tally->views; view++) *tally->edges++ = tally->done;
    return 0;
}

static int count_all(const uint8_t *data, const int64_t *ends, Py_ssize_t texts, const Language *language, Text *text,
                     const Part *parts, Py_ssize_t many, int bits, uint64_t *buckets, Tally *tally)
{
    for (Py_ssize_t t = 0; t < texts; t++) {
        take_apart(data + ends[t], (Py_ssize_t)(ends[t + 1] - ends[t]), language, text);
        for (const Part *part = parts; part < parts + many; part++) {
            Py_ssize_t count = part->words ? word_grams(text, part, bits, buckets)
                                           : byte_grams(text, language, part, bits, buckets);
            count = look_up(part, buckets, count, buckets);
            for (Py_ssize_t k = 0; k < count; k++) {
                const uint64_t row = buckets[k];
                if (row >= (uint64_t)tally->rows) continue;
                tally->counters[row]++;
                tally->occurs[row >> 6] |= UINT64_C(1) << (row & 63);
            }
        }
        if (empty(tally) < 0) return -1;
    }
    *tally->edges = tally->done;
    return 0;
}

static int take_part(Arrays *arrays, PyObject *tuple, Part *part)
{
    PyObject *marks, *ranks;
    unsigned long long number;
    if (!PyArg_ParseTuple(tuple, "KpipiOOn", &number, &part->words, &part->keep, &part->one, &part->size, &marks, &ranks,
                          &part->base))
        return -1;
    if (part->size < 1 || part->size > (part->words ? 16 : 8)) {
        PyErr_SetString(PyExc_ValueError, "no n-grams of that size");
        return -1;
    }
    part->salt = (number + 1) * OF_VIEW;
    part->places = -1;
    if (take(arrays, marks, 0, 8, &part->places, &part->marks) < 0) return -1;
    return take(arrays, ranks, 0, 4, &part->places, &part->ranks);
}

static int take_language(Arrays *arrays, PyObject *tuple, Language *language)
{
    PyObject *classes, *shapes, *spaces, *table, *hashes;
    Py_ssize_t bytes = 256, known = -1;
    language->slots = -1;
    if (!PyArg_ParseTuple(tuple, "OOOOOi", &classes, &shapes, &spaces, &table, &hashes, &language->shift) ||
        take(arrays, classes, 0, 1, &bytes, &language->classes) < 0 ||
        take(arrays, shapes, 0, 1, &bytes, &language->shapes) < 0 ||
        take(arrays, spaces, 0, 1, &bytes, &language->spaces) < 0 ||
        take(arrays, table, 0, 4, &language->slots, &language->table) < 0 ||
        take(arrays, hashes, 0, 8, &known, &language->hashes) < 0)
        return -1;
    language->common = known - 1; /* the last hash is nobody's */
    if (language->slots > 0 && !(language->slots & (language->slots - 1)) && known > 0 && known < INT32_MAX &&
        language->shift >= 0 && language->shift < 64)
        return 0;
    PyErr_SetString(PyExc_ValueError, "no table of common words");
    return -1;
}

PyDoc_STRVAR(count_doc, "count(data, ends, language, parts, bits, bounds, rows, counts, edges) -> int\n\n"
                        "See authorid.ngrams.vectorizer.Vectorizer.count.");

static PyObject *count(PyObject *module, PyObject *arguments)
{
    PyObject *given[7], *list, *result = NULL;
    Arrays arrays;
    Language language;
    Tally tally = {0};
    const uint8_t *data;
    const int64_t *ends;
    Py_ssize_t bytes = -1, texts = -1, views = -1, room = -1, places, longest = 0;
    int bits;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOO!iOOOO", &given[0], &given[1], &given[2], &PyList_Type, &list, &bits, &given[3],
                          &given[4], &given[5], &given[6]))
        return NULL;
    const Py_ssize_t many = PyList_Size(list);
    if (hold(&arrays, 11 + 2 * many) < 0) return NULL;
    Part *parts = calloc(many ? (size_t)many : 1, sizeof(Part));
    Text text = {0};
    uint64_t *buckets = NULL;
    if (!parts) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < many; i++)
        if (take_part(&arrays, PyList_GetItem(list, i), &parts[i]) < 0) goto done;
    if (take(&arrays, given[0], 0, 1, &bytes, &data) < 0 || take(&arrays, given[1], 0, 8, &texts, &ends) < 0 ||
        take_language(&arrays, given[2], &language) < 0 || take(&arrays, given[3], 0, 8, &views, &tally.bounds) < 0 ||
        take(&arrays, given[4], 1, 4, &room, &tally.found) < 0 || take(&arrays, given[5], 1, 8, &room, &tally.counts) < 0)
        goto done;
    views--;
    texts--;
    places = views * texts + 1;
    if (take(&arrays, given[6], 1, 8, &places, &tally.edges) < 0) goto done;
    int fits = views > 0 && texts >= 0 && bits > 0 && bits < 64 && bytes < INT32_MAX && tally.bounds[views] >= 0 &&
               tally.bounds[views] < INT32_MAX && ends[0] == 0;
    for (Py_ssize_t t = 0; fits && t < texts; t++) {
        fits = ends[t] <= ends[t + 1] && ends[t + 1] <= bytes;
        if (ends[t + 1] - ends[t] > longest) longest = (Py_ssize_t)(ends[t + 1] - ends[t]);
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not fit together");
        goto done;
    }
    tally.rows = (Py_ssize_t)tally.bounds[views];
    tally.views = views;
    tally.room = room;
    tally.counters = calloc((size_t)tally.rows + 1, sizeof(int32_t));
    tally.occurs = calloc(((size_t)tally.rows >> 6) + 1, sizeof(uint64_t));
    text.bytes = malloc((size_t)longest + 1);
    text.masked = malloc((size_t)longest + 1);
    text.starts = malloc(((size_t)longest + 1) * sizeof(int32_t));
    text.ranks = malloc(((size_t)longest + 1) * sizeof(int32_t));
    text.seen_ranks = malloc(((size_t)longest + 1) * sizeof(int32_t));
    text.plain = malloc(((size_t)longest + 1) * sizeof(uint64_t));
    text.shapes = malloc(((size_t)longest + 1) * sizeof(uint64_t));
    text.units = malloc(((size_t)longest + 1) * sizeof(uint64_t));
    buckets = malloc(((size_t)longest + 1) * sizeof(uint64_t));
    if (!tally.counters || !tally.occurs || !text.bytes || !text.masked || !text.starts || !text.ranks ||
        !text.seen_ranks || !text.plain || !text.shapes || !text.units || !buckets) {
        PyErr_NoMemory();
        goto done;
    }
    int complete;
    Py_BEGIN_ALLOW_THREADS
    complete = count_all(data, ends, texts, &language, &text, parts, many, bits, buckets, &tally);
    Py_END_ALLOW_THREADS
    if (complete < 0)
        PyErr_SetString(PyExc_ValueError, "no room for so many rows");
    else
        result = PyLong_FromSsize_t(tally.done);
done:
    let_go(&arrays);
    free(parts);
    free(tally.counters);
    free(tally.occurs);
    free(text.bytes);
    free(text.masked);
    free(text.starts);
    free(text.ranks);
    free(text.seen_ranks);
    free(text.plain);
    free(text.shapes);
    free(text.units);
    free(buckets);
    return result;
}

/* ---- weigh ---- */

/* tf-idf of length `weights[view]` in each view of each text. The root of a sum is the same wherever it is taken, and so
 * is the sum: one after the other.
 */
static void weigh_all(const int32_t *rows, const int64_t *counts, const int64_t *edges, Py_ssize_t stretches,
                      const float *idf, const double *logs, const double *weights, const uint8_t *once,
                      Py_ssize_t views, double *room, float *values)
{
    for (Py_ssize_t stretch = 0; stretch < stretches; stretch++) {
        const int64_t start = edges[stretch], many = edges[stretch + 1] - start;
        const int occurs = once[stretch % views];
        double sum = 0;
        for (int64_t i = 0; i < many; i++) {
            room[i] = (occurs ? 1.0 : logs[counts[start + i]]) * (double)idf[rows[start + i]];
            sum += room[i] * room[i];
        }
        const double length = sqrt(sum), factor = weights[stretch % views] / (length > 0 ? length : 1.0);
        for (int64_t i = 0; i < many; i++) values[start + i] = (float)(room[i] * factor);
    }
}

PyDoc_STRVAR(weigh_doc, "weigh(rows, counts, edges, idf, logs, weights, once, values)\n\nSee authorid.ngrams.vectorizer.weigh.");

static PyObject *weigh(PyObject *module, PyObject *arguments)
{
    PyObject *given[8], *result = NULL;
    Arrays arrays;
    const int32_t *rows;
    const int64_t *counts, *edges;
    const float *idf;
    const double *logs, *weights;
    const uint8_t *once;
    float *values;
    double *room = NULL;
    Py_ssize_t many = -1, places = -1, known = -1, most = -1, views = -1, longest = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOO", &given[0], &given[1], &given[2], &given[3], &given[4], &given[5],
                          &given[6], &given[7]) ||
        hold(&arrays, 8) < 0)
        return NULL;
    if (take(&arrays, given[0], 0, 4, &many, &rows) < 0 || take(&arrays, given[1], 0, 8, &many, &counts) < 0 ||
        take(&arrays, given[2], 0, 8, &places, &edges) < 0 || take(&arrays, given[3], 0, 4, &known, &idf) < 0 ||
        take(&arrays, given[4], 0, 8, &most, &logs) < 0 || take(&arrays, given[5], 0, 8, &views, &weights) < 0 ||
        take(&arrays, given[6], 0, 1, &views, &once) < 0 || take(&arrays, given[7], 1, 4, &many, &values) < 0)
        goto done;
    int fits = views > 0 && places > 0 && edges[0] == 0 && edges[places - 1] == many;
    for (Py_ssize_t i = 1; fits && i < places; i++) {
        fits = edges[i] >= edges[i - 1];
        if (edges[i] - edges[i - 1] > longest) longest = (Py_ssize_t)(edges[i] - edges[i - 1]);
    }
    for (Py_ssize_t i = 0; fits && i < many; i++)
        fits = rows[i] >= 0 && rows[i] < known && counts[i] >= 0 && counts[i] < most;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not fit together");
        goto done;
    }
    room = malloc(((size_t)longest + 1) * sizeof(double));
    if (!room) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    weigh_all(rows, counts, edges, places - 1, idf, logs, weights, once, views, room, values);
    Py_END_ALLOW_THREADS
    result = Py_None;
    Py_INCREF(result);
done:
    let_go(&arrays);
    free(room);
    return result;
}

/* ---- add_up ---- */

#define AHEAD 24 /* rows: far enough for memory to answer in time, near enough for the cache to keep it */

/* sums[j] += values[i] * weights[rows[i], j], one i after the other, so that answers do not depend on the machine. */
WIDEST
static void add_rows(const int8_t *weights, const int32_t *rows, const float *values, Py_ssize_t count,
                     Py_ssize_t authors, float *sums)
{
    for (Py_ssize_t i = 0; i + 1 < count; i += 2) {
        const int8_t *one = weights + rows[i] * authors, *other = weights + rows[i + 1] * authors;
        const float first = values[i], second = values[i + 1];
        for (Py_ssize_t k = i + AHEAD; k < i + AHEAD + 2 && k < count; k++) {
            SOON(weights + rows[k] * authors);
            SOON(weights + (rows[k] + (Py_ssize_t)1) * authors - 1);
        }
        for (Py_ssize_t j = 0; j < authors; j++) sums[j] = (sums[j] + first * (float)one[j]) + second * (float)other[j];
    }
    if (count % 2) {
        const int8_t *last = weights + rows[count - 1] * authors;
        for (Py_ssize_t j = 0; j < authors; j++) sums[j] += values[count - 1] * (float)last[j];
    }
}

/* Rows and their values: as many as one sum may have that are not shared, and behind them as many that are. */
typedef struct {
    int32_t *rows;
    float *values;
} Sorted;

/* Put the shared ones of `count` rows behind `room`, the others in front, in their order; returns how many are shared. */
static Py_ssize_t sort_out(const uint8_t *shared, const int32_t *rows, const float *values, Py_ssize_t count,
                           Py_ssize_t room, const Sorted *to)
{
    int32_t *const front = to->rows, *const behind = to->rows + room;
    float *const first = to->values, *const second = to->values + room;
    Py_ssize_t done = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        /* Into both places, without a branch on which is right, which nobody could predict. */
        const int32_t row = rows[i];
        const float value = values[i];
        front[i - done] = row;
        first[i - done] = value;
        behind[done] = row;
        second[done] = value;
        done += shared[row] != 0;
    }
    return done;
}

/* `edges` [texts * views + 1] and `parts` [texts, views, 2, authors]; a sum of floats ends at the end of every `block`. */
static void add_all(const int8_t *weights, const uint8_t *shared, const int32_t *rows, const float *values,
                    const int64_t *edges, Py_ssize_t texts, Py_ssize_t views, Py_ssize_t authors, Py_ssize_t block,
                    Py_ssize_t room, const Sorted *sorted, float *sums, double *parts)
{
    for (Py_ssize_t text = 0; text < texts; text++) {
        const int64_t *own = edges + text * views;
        for (int64_t first = own[0], last; first < own[views]; first = last) {
            last = own[views] - first > block ? first + block : own[views];
            for (Py_ssize_t view = 0; view < views; view++) {
                const int64_t start = own[view] > first ? own[view] : first;
                const int64_t stop = own[view + 1] < last ? own[view + 1] : last;
                double *part = parts + (text * views + view) * 2 * authors;
                if (start >= stop) continue;
                const Py_ssize_t all = (Py_ssize_t)(stop - start);
                const Py_ssize_t many = sort_out(shared, rows + start, values + start, all, room, sorted);
                for (int which = 0; which < 2; which++, part += authors) {
                    const Py_ssize_t place = which ? room : 0, count = which ? many : all - many;
                    memset(sums, 0, (size_t)authors * sizeof(float));
                    add_rows(weights, sorted->rows + place, sorted->values + place, count, authors, sums);
                    for (Py_ssize_t j = 0; j < authors; j++) part[j] += (double)sums[j];
                }
            }
        }
    }
}

PyDoc_STRVAR(add_up_doc, "add_up(weights, shared, rows, values, edges, parts, views, authors, block)\n\n"
                         "See authorid.ngrams.vectorizer.add_up.");

static PyObject *add_up(PyObject *module, PyObject *arguments)
{
    PyObject *given[6], *result = NULL;
    Arrays arrays;
    const int8_t *weights;
    const uint8_t *shared;
    const int32_t *rows;
    const float *values;
    const int64_t *edges;
    double *parts;
    float *sums = NULL;
    Sorted sorted = {0};
    Py_ssize_t known = -1, told = -1, count = -1, places = -1, numbers = -1, longest = 0, views, authors, block;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOOOnnn", &given[0], &given[1], &given[2], &given[3], &given[4], &given[5],
                          &views, &authors, &block) ||
        hold(&arrays, 6) < 0)
        return NULL;
    if (take(&arrays, given[0], 0, 1, &known, &weights) < 0 || take(&arrays, given[1], 0, 1, &told, &shared) < 0 ||
        take(&arrays, given[2], 0, 4, &count, &rows) < 0 || take(&arrays, given[3], 0, 4, &count, &values) < 0 ||
        take(&arrays, given[4], 0, 8, &places, &edges) < 0 || take(&arrays, given[5], 1, 8, &numbers, &parts) < 0)
        goto done;
    const Py_ssize_t stretches = places - 1;
    int fits = views > 0 && block > 0 && stretches >= 0 && stretches % views == 0 && authors > 0 &&
               numbers % authors == 0 && numbers / authors == 2 * stretches;
    for (Py_ssize_t i = 0; fits && i < places; i++) {
        fits = edges[i] >= (i ? edges[i - 1] : 0) && edges[i] <= count;
        if (i && edges[i] - edges[i - 1] > longest) longest = (Py_ssize_t)(edges[i] - edges[i - 1]);
    }
    for (Py_ssize_t i = 0; fits && i < count; i++) fits = rows[i] >= 0 && rows[i] < known / authors && rows[i] < told;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not fit together");
        goto done;
    }
    const Py_ssize_t room = longest < block ? longest : block;
    sums = malloc((size_t)authors * sizeof(float));
    sorted.rows = malloc((2 * (size_t)room + 1) * sizeof(int32_t));
    sorted.values = malloc((2 * (size_t)room + 1) * sizeof(float));
    if (!sums || !sorted.rows || !sorted.values) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    add_all(weights, shared, rows, values, edges, stretches / views, views, authors, block, room, &sorted, sums, parts);
    Py_END_ALLOW_THREADS
    result = Py_None;
    Py_INCREF(result);
done:
    let_go(&arrays);
    free(sums);
    free(sorted.rows);
    free(sorted.values);
    return result;
}

static PyMethodDef methods[] = {
    {"count", count, METH_VARARGS, count_doc},
    {"weigh", weigh, METH_VARARGS, weigh_doc},
    {"add_up", add_up, METH_VARARGS, add_up_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels_c", "Inner loops of the n-gram expert.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels_c(void)
{
    return PyModuleDef_Init(&definition);
}
