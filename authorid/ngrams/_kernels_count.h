/* count_ngrams: texts become words, words and bytes become n-grams, n-grams become counts of features. */
#ifndef AUTHORID_KERNELS_COUNT_H
#define AUTHORID_KERNELS_COUNT_H

#include "_kernels_arrays.h"

/* ---- texts ---- */

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)
#define CAPITAL UINT64_C(0x9FB21C651E98DF25)
#define SIZE_FACTOR UINT64_C(0xA24BAED4963EE407)
#define VIEW_FACTOR UINT64_C(0xD6E8FEB86659FD93)
#define PROBES 64
#define SEPARATOR 0x1F /* no character: it only separates words */

/* A WordTable of Python: see `authorid.ngrams.arrays`. */
typedef struct {
    const uint8_t *classes, *shapes, *spaces;
    const int32_t *slots;
    const uint64_t *hashes;
    Py_ssize_t slot_count, common;
    int shift;
} WordTable;

enum { BYTES, WORDS, CHARACTERS };

/* A GramTable of Python; `salt` stands for the view's number. */
typedef struct {
    int unit, keep, one, size;
    uint64_t salt;
    const uint64_t *marks;
    const uint32_t *ranks;
    Py_ssize_t blocks, first;
} GramTable;

/* A text divided into words: its bytes, and its words by where they start. Of the `visible` words and marks, those that
 * are not white space: the unit for one as it is and where it is masked, and its rank. The rest is working memory.
 */
typedef struct {
    uint8_t *bytes, *masked;
    int32_t *starts, *ranks, *visible_ranks;
    uint64_t *plain, *shapes, *units, *buckets;
    Py_ssize_t length, words, visible;
} Text;

static int allocate_text(Text *text, Py_ssize_t longest)
{
    const size_t size = (size_t)longest + 1;
    text->bytes = malloc(size);
    text->masked = malloc(size);
    text->starts = malloc(size * sizeof(int32_t));
    text->ranks = malloc(size * sizeof(int32_t));
    text->visible_ranks = malloc(size * sizeof(int32_t));
    text->plain = malloc(size * sizeof(uint64_t));
    text->shapes = malloc(size * sizeof(uint64_t));
    text->units = malloc(size * sizeof(uint64_t));
    text->buckets = malloc(size * sizeof(uint64_t));
    if (text->bytes && text->masked && text->starts && text->ranks && text->visible_ranks && text->plain &&
        text->shapes && text->units && text->buckets)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void free_text(Text *text)
{
    free(text->bytes);
    free(text->masked);
    free(text->starts);
    free(text->ranks);
    free(text->visible_ranks);
    free(text->plain);
    free(text->shapes);
    free(text->units);
    free(text->buckets);
}

static int32_t rank_of(const WordTable *table, uint64_t hash)
{
    uint64_t slot = hash >> table->shift;
    for (int probe = 0; probe < PROBES; probe++, slot++) {
        const int32_t rank = table->slots[slot & (uint64_t)(table->slot_count - 1)];
        if (rank < 0 || rank >= table->common) break;
        if (table->hashes[rank] == hash) return rank;
    }
    return (int32_t)table->common;
}

/* Replace several characters of white space by one space, and find the words. */
static void split_words(const uint8_t *data, Py_ssize_t length, const WordTable *table, Text *text)
{
    text->length = 0;
    for (Py_ssize_t i = 0, again = 0; i < length; i++) {
        const int space = table->spaces[data[i]];
        if (space && again)
            text->bytes[text->length - 1] = ' ';
        else
            text->bytes[text->length++] = data[i];
        again = space;
    }
    text->words = text->visible = 0;
    for (Py_ssize_t i = 0; i < text->length;) {
        const uint8_t start = text->bytes[i], kind = table->classes[start];
        uint64_t hash = 0, power = GOLDEN;
        text->starts[text->words] = (int32_t)i;
        do {
            const uint8_t byte = text->bytes[i++];
            hash += ((uint64_t)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte) + 1) * power;
            power *= GOLDEN;
        } while (kind && i < text->length && table->classes[text->bytes[i]] == kind);
        const int32_t rank = text->ranks[text->words++] = kind ? rank_of(table, hash) : -1;
        text->plain[text->visible] = hash + (start >= 'A' && start <= 'Z' ? CAPITAL : 0);
        text->shapes[text->visible] = table->shapes[start];
        text->visible_ranks[text->visible] = rank;
        text->visible += !table->spaces[start];
    }
    text->starts[text->words] = (int32_t)text->length;
}

/* Fill `masked` with the bytes of a view that keeps only common words; returns how many there are. */
static Py_ssize_t mask_words(const Text *text, const WordTable *table, const GramTable *gram)
{
    uint8_t *to = text->masked;
    for (Py_ssize_t word = 0; word < text->words; word++) {
        Py_ssize_t i = text->starts[word], end = text->starts[word + 1];
        if (text->ranks[word] < gram->keep)
            for (; i < end; i++) *to++ = text->bytes[i];
        else
            for (end = gram->one ? i + 1 : end; i < end; i++) *to++ = table->shapes[text->bytes[i]];
    }
    return to - text->masked;
}

static uint64_t bucket_of(uint64_t key, uint64_t salt, int bits)
{
    key = (key ^ salt) * GOLDEN;
    key = (key ^ key >> 32) * GOLDEN;
    return key >> (64 - bits);
}

/* All fill `to` with the bucket of every n-gram, and return how many there are: at most one for each byte. */

static Py_ssize_t byte_grams(const Text *text, const WordTable *table, const GramTable *gram, int bits, uint64_t *to)
{
    const uint8_t *bytes = gram->keep < 0 ? text->bytes : text->masked;
    const Py_ssize_t length = gram->keep < 0 ? text->length : mask_words(text, table, gram);
    const uint64_t whole = gram->size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * gram->size) - 1;
    uint64_t key = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        key = (key << 8 | bytes[i]) & whole;
        if (i + 1 >= gram->size) *to++ = bucket_of(key ^ (uint64_t)gram->size * SIZE_FACTOR, gram->salt, bits);
    }
    return length < gram->size ? 0 : length - gram->size + 1;
}

static Py_ssize_t unit_grams(const uint64_t *units, Py_ssize_t length, const GramTable *gram, int bits, uint64_t *to)
{
    Py_ssize_t count = 0;
    for (; count + gram->size <= length; count++) {
        uint64_t key = units[count] + (uint64_t)gram->size;
        for (int i = 1; i < gram->size; i++) key = key * GOLDEN + units[count + i];
        to[count] = bucket_of(key, gram->salt, bits);
    }
    return count;
}

static Py_ssize_t character_grams(const Text *text, const WordTable *table, const GramTable *gram, int bits, uint64_t *to)
{
    const uint8_t *bytes = gram->keep < 0 ? text->bytes : text->masked;
    const Py_ssize_t length = gram->keep < 0 ? text->length : mask_words(text, table, gram);
    Py_ssize_t count = 0;
    uint64_t power = GOLDEN;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (bytes[i] == SEPARATOR) continue;
        if (!count || (bytes[i] & 0xC0) != 0x80) {
            text->units[count++] = 0;
            power = GOLDEN;
        }
        text->units[count - 1] += ((uint64_t)bytes[i] + 1) * power;
        power *= GOLDEN;
    }
    return unit_grams(text->units, count, gram, bits, to);
}

static Py_ssize_t word_grams(const Text *text, const GramTable *gram, int bits, uint64_t *to)
{
    const uint64_t *units = text->plain;
    if (gram->keep >= 0) {
        for (Py_ssize_t k = 0; k < text->visible; k++) {
            /* No branch on the rank of a word: processors cannot predict it. */
            const uint64_t masked = -(uint64_t)(text->visible_ranks[k] >= gram->keep);
            text->units[k] = (text->shapes[k] & masked) | (text->plain[k] & ~masked);
        }
        units = text->units;
    }
    return unit_grams(units, text->visible, gram, bits, to);
}

static Py_ssize_t grams_of(const Text *text, const WordTable *table, const GramTable *gram, int bits, uint64_t *to)
{
    if (gram->unit == WORDS) return word_grams(text, gram, bits, to);
    if (gram->unit == CHARACTERS) return character_grams(text, table, gram, bits, to);
    return byte_grams(text, table, gram, bits, to);
}

/* ---- count_ngrams ---- */

#define GRAMS_AHEAD 16 /* far enough ahead for memory to answer in time */

/* Features of `count` buckets, for those that have one; returns how many have. `features` may be the same array. */
VECTORIZED
static Py_ssize_t look_up(const GramTable *gram, const uint64_t *buckets, Py_ssize_t count, uint64_t *features)
{
    Py_ssize_t done = 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        const uint64_t bucket = buckets[k], block = bucket >> 6, mark = UINT64_C(1) << (bucket & 63);
        if (k + GRAMS_AHEAD < count) {
            PREFETCH(gram->marks + (buckets[k + GRAMS_AHEAD] >> 6));
            PREFETCH(gram->ranks + (buckets[k + GRAMS_AHEAD] >> 6));
        }
        if (block >= (uint64_t)gram->blocks) continue;
        /* No branch on whether the bucket has a feature: processors cannot predict it. */
        features[done] =
            (uint64_t)gram->first + gram->ranks[block] + (uint64_t)POPCOUNT(gram->marks[block] & (mark - 1));
        done += (gram->marks[block] & mark) != 0;
    }
    return done;
}

/* How often each feature occurs in the current text, and the matrix that a text's counts are appended to. */
typedef struct {
    uint32_t *counters;
    uint64_t *occurs;
    Py_ssize_t features, views;
    const int64_t *bounds;
    int32_t *indices;
    int64_t *data, *indptr;
    Py_ssize_t entries, capacity;
} Counters;

static int allocate_counters(Counters *counters)
{
    counters->counters = calloc((size_t)counters->features + 1, sizeof(uint32_t));
    counters->occurs = calloc(((size_t)counters->features >> 6) + 1, sizeof(uint64_t));
    if (counters->counters && counters->occurs) return 0;
    PyErr_NoMemory();
    return -1;
}

/* Append what occurs in the current text, in ascending order, and set the counters to 0. */
static int append_text(Counters *counters)
{
    Py_ssize_t view = 0;
    *counters->indptr++ = counters->entries;
    for (Py_ssize_t word = 0; word <= counters->features >> 6; word++) {
        for (uint64_t left = counters->occurs[word]; left; left &= left - 1) {
            const Py_ssize_t feature = (word << 6) + LOWEST_BIT(left);
            for (; view + 1 < counters->views && feature >= counters->bounds[view + 1]; view++)
                *counters->indptr++ = counters->entries;
            if (counters->entries == counters->capacity) return -1;
            counters->indices[counters->entries] = (int32_t)feature;
            counters->data[counters->entries++] = counters->counters[feature];
            counters->counters[feature] = 0;
        }
        counters->occurs[word] = 0;
    }
    for (; view + 1 < counters->views; view++) *counters->indptr++ = counters->entries;
    return 0;
}

/* The texts to count: `offsets` [count + 1] says where each begins in `data`. */
typedef struct {
    const uint8_t *data;
    const int64_t *offsets;
    Py_ssize_t count;
} EncodedTexts;

static int count_texts(const EncodedTexts *texts, const WordTable *table, const GramTable *grams, Py_ssize_t gram_count,
                       int bits, Text *text, Counters *counters)
{
    for (Py_ssize_t t = 0; t < texts->count; t++) {
        const int64_t start = texts->offsets[t];
        split_words(texts->data + start, (Py_ssize_t)(texts->offsets[t + 1] - start), table, text);
        for (const GramTable *gram = grams; gram < grams + gram_count; gram++) {
            Py_ssize_t count = grams_of(text, table, gram, bits, text->buckets);
            count = look_up(gram, text->buckets, count, text->buckets);
            for (Py_ssize_t k = 0; k < count; k++) {
                const uint64_t feature = text->buckets[k];
                if (feature >= (uint64_t)counters->features) continue;
                counters->counters[feature]++;
                counters->occurs[feature >> 6] |= UINT64_C(1) << (feature & 63);
            }
        }
        if (append_text(counters) < 0) return -1;
    }
    *counters->indptr = counters->entries;
    return 0;
}

static int get_gram_table(Arrays *arrays, PyObject *tuple, GramTable *gram)
{
    PyObject *marks, *ranks;
    unsigned long long view;
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "grams must be a list of tuples");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "KiipiOOn", &view, &gram->unit, &gram->keep, &gram->one, &gram->size, &marks, &ranks,
                          &gram->first))
        return -1;
    if (gram->unit < BYTES || gram->unit > CHARACTERS || gram->size < 1 || gram->size > (gram->unit == BYTES ? 8 : 16)) {
        PyErr_SetString(PyExc_ValueError, "n-grams have 1 to 8 bytes, or 1 to 16 words or characters");
        return -1;
    }
    gram->salt = (view + 1) * VIEW_FACTOR;
    gram->blocks = -1;
    if (get_array(arrays, "marks", marks, &UINT64, READ, &gram->blocks, &gram->marks) < 0) return -1;
    return get_array(arrays, "ranks", ranks, &UINT32, READ, &gram->blocks, &gram->ranks);
}

static int get_word_table(Arrays *arrays, PyObject *tuple, WordTable *table)
{
    PyObject *classes, *shapes, *spaces, *slots, *hashes;
    Py_ssize_t bytes = 256, known = -1;
    table->slot_count = -1;
    if (!PyArg_ParseTuple(tuple, "OOOOOi", &classes, &shapes, &spaces, &slots, &hashes, &table->shift) ||
        get_array(arrays, "classes", classes, &UINT8, READ, &bytes, &table->classes) < 0 ||
        get_array(arrays, "shapes", shapes, &UINT8, READ, &bytes, &table->shapes) < 0 ||
        get_array(arrays, "spaces", spaces, &UINT8, READ, &bytes, &table->spaces) < 0 ||
        get_array(arrays, "slots", slots, &INT32, READ, &table->slot_count, &table->slots) < 0 ||
        get_array(arrays, "hashes", hashes, &UINT64, READ, &known, &table->hashes) < 0)
        return -1;
    table->common = known - 1; /* the last hash is unused */
    if (table->slot_count > 0 && !(table->slot_count & (table->slot_count - 1)) && known > 0 && known < INT32_MAX &&
        table->shift >= 0 && table->shift < 64)
        return 0;
    PyErr_SetString(PyExc_ValueError, "not a table of common words");
    return -1;
}

/* Returns the length in bytes of the longest text, or -1 and an exception. */
static Py_ssize_t get_texts(Arrays *arrays, PyObject *data, PyObject *offsets, EncodedTexts *texts)
{
    Py_ssize_t bytes = -1, count = -1;
    if (get_array(arrays, "texts.data", data, &UINT8, READ, &bytes, &texts->data) < 0 ||
        get_array(arrays, "texts.offsets", offsets, &INT64, READ, &count, &texts->offsets) < 0)
        return -1;
    texts->count = count - 1;
    if (bytes < INT32_MAX) return check_indptr("texts.offsets", texts->offsets, count, bytes);
    PyErr_SetString(PyExc_ValueError, "texts of 2 GiB or more");
    return -1;
}

static int get_counters(Arrays *arrays, PyObject *bounds, const CsrObjects *matrix, Py_ssize_t texts, Counters *counters)
{
    Py_ssize_t length = -1, rows;
    counters->capacity = -1;
    if (get_array(arrays, "bounds", bounds, &INT64, READ, &length, &counters->bounds) < 0) return -1;
    const int64_t end = length > 1 ? counters->bounds[length - 1] : -1;
    if (end >= INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many features");
        return -1;
    }
    if (check_indptr("bounds", counters->bounds, length, end) < 0) return -1;
    counters->features = (Py_ssize_t)end;
    counters->views = length - 1;
    if (texts > (PY_SSIZE_T_MAX - 1) / counters->views) {
        PyErr_NoMemory();
        return -1;
    }
    rows = texts * counters->views + 1;
    if (get_array(arrays, "counts.indices", matrix->indices, &INT32, WRITE, &counters->capacity, &counters->indices) < 0 ||
        get_array(arrays, "counts.data", matrix->data, &INT64, WRITE, &counters->capacity, &counters->data) < 0)
        return -1;
    return get_array(arrays, "counts.indptr", matrix->indptr, &INT64, WRITE, &rows, &counters->indptr);
}

PyDoc_STRVAR(count_ngrams_doc, "count_ngrams($module, texts, words, grams, bits, bounds, counts, /)\n--\n\n"
                               "See authorid.ngrams.kernels.Kernels.");

static PyObject *count_ngrams(PyObject *module, PyObject *arguments)
{
    PyObject *data, *offsets, *words, *list, *bounds, *result = NULL;
    CsrObjects matrix;
    Arrays arrays;
    EncodedTexts texts = {0};
    WordTable table = {0};
    Counters counters = {0};
    Text text = {0};
    int bits, complete;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "(OO)O!O!iO(OOO)", &data, &offsets, &PyTuple_Type, &words, &PyList_Type, &list, &bits,
                          &bounds, &matrix.indices, &matrix.data, &matrix.indptr))
        return NULL;
    const Py_ssize_t gram_count = PyList_Size(list);
    if (init_arrays(&arrays, 11 + 2 * gram_count) < 0) return NULL;
    GramTable *grams = calloc(gram_count ? (size_t)gram_count : 1, sizeof(GramTable));
    if (!grams) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < gram_count; i++)
        if (get_gram_table(&arrays, PyList_GetItem(list, i), &grams[i]) < 0) goto done;
    const Py_ssize_t longest = get_texts(&arrays, data, offsets, &texts);
    if (longest < 0 || get_word_table(&arrays, words, &table) < 0) goto done;
    if (bits < 1 || bits > 63) {
        PyErr_SetString(PyExc_ValueError, "bits must be between 1 and 63");
        goto done;
    }
    if (get_counters(&arrays, bounds, &matrix, texts.count, &counters) < 0 || allocate_counters(&counters) < 0 ||
        allocate_text(&text, longest) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    complete = count_texts(&texts, &table, grams, gram_count, bits, &text, &counters);
    Py_END_ALLOW_THREADS
    if (complete < 0)
        PyErr_Format(PyExc_ValueError, "more than %zd entries", counters.capacity);
    else
        result = PyLong_FromSsize_t(counters.entries);
done:
    release_arrays(&arrays);
    free(grams);
    free(counters.counters);
    free(counters.occurs);
    free_text(&text);
    return result;
}

#endif
