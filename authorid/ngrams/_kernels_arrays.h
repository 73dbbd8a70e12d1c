/* What the kernels in C share: the arrays of a call, and the checks of what they hold.
 *
 * Arguments are contiguous buffers and tuples of them. Order and range are checked before any arithmetic on the contents.
 */
#ifndef AUTHORID_KERNELS_ARRAYS_H
#define AUTHORID_KERNELS_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define VECTORIZED __attribute__((target_clones("avx2", "default"))) /* chosen when the module is loaded */
#else
#define VECTORIZED
#endif

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#define LOWEST_BIT(word) __builtin_ctzll(word)
#define POPCOUNT(word) __builtin_popcountll(word)
#else
#define PREFETCH(address) ((void)0)
static int POPCOUNT(uint64_t word)
{
    int count = 0;
    for (; word; word &= word - 1) count++;
    return count;
}
#define LOWEST_BIT(word) POPCOUNT(((word) & (0 - (word))) - 1)
#endif

/* The buffers of a call, held until `release_arrays`. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t count, capacity;
} Arrays;

static int init_arrays(Arrays *arrays, Py_ssize_t capacity)
{
    arrays->views = calloc((size_t)capacity, sizeof(Py_buffer));
    arrays->count = 0;
    arrays->capacity = capacity;
    if (arrays->views) return 0;
    PyErr_NoMemory();
    return -1;
}

static void release_arrays(Arrays *arrays)
{
    while (arrays->count) PyBuffer_Release(&arrays->views[--arrays->count]);
    free(arrays->views);
}

/* What an element is: the letters that its format may have, its size, and numpy's name of it. */
typedef struct {
    const char *formats;
    Py_ssize_t size;
    const char *name;
} Kind;

static const Kind INT8 = {"b", 1, "int8"}, UINT8 = {"B", 1, "uint8"}, INT32 = {"il", 4, "int32"},
                  UINT32 = {"IL", 4, "uint32"}, INT64 = {"lq", 8, "int64"}, UINT64 = {"LQ", 8, "uint64"},
                  FLOAT32 = {"f", 4, "float32"}, FLOAT64 = {"d", 8, "float64"};

enum { READ = 0, WRITE = 1 };

static int is_kind(const Py_buffer *view, const Kind *kind)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=') format++;
    return *format && !format[1] && strchr(kind->formats, *format) && view->itemsize == kind->size &&
           (uintptr_t)view->buf % (size_t)kind->size == 0;
}

/* Hold the buffer of `object`; NULL and an exception when it is not an array of that kind. */
static const Py_buffer *get_buffer(Arrays *arrays, const char *name, PyObject *object, const Kind *kind, int dimensions,
                                   int writable)
{
    Py_buffer *view = &arrays->views[arrays->count];
    if (arrays->count == arrays->capacity) {
        PyErr_SetString(PyExc_SystemError, "more arrays than were counted");
        return NULL;
    }
    if (PyObject_GetBuffer(object, view, PyBUF_CONTIG_RO | PyBUF_FORMAT) < 0) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) return NULL;
        goto wrong;
    }
    arrays->count++;
    if (!is_kind(view, kind) || view->ndim != dimensions) goto wrong;
    if (!writable || !view->readonly) return view;
    PyErr_Format(PyExc_ValueError, "%s must be writable", name);
    return NULL;
wrong:
    PyErr_Format(PyExc_ValueError, "%s must be a contiguous %d-dimensional array of %s", name, dimensions, kind->name);
    return NULL;
}

/* Store in `to` where the elements are; `*length` is how many there must be, or is set where it is -1. */
static int get_array(Arrays *arrays, const char *name, PyObject *object, const Kind *kind, int writable,
                     Py_ssize_t *length, const void *to)
{
    const Py_buffer *view = get_buffer(arrays, name, object, kind, 1, writable);
    if (!view) return -1;
    const Py_ssize_t actual = view->len / kind->size;
    if (*length >= 0 && actual != *length) {
        PyErr_Format(PyExc_ValueError, "%s must have %zd elements, not %zd", name, *length, actual);
        return -1;
    }
    *length = actual;
    memcpy((void *)to, &view->buf, sizeof(void *));
    return 0;
}

/* The parts of a CsrMatrix. */
typedef struct {
    PyObject *indices, *data, *indptr;
} CsrObjects;

/* Compares neighbours and never subtracts them before their order is known: hostile numbers could overflow. Returns the
 * longest distance between neighbours, or -1 and an exception.
 */
static Py_ssize_t check_indptr(const char *name, const int64_t *indptr, Py_ssize_t length, int64_t end)
{
    int64_t longest = 0;
    int valid = length > 0 && indptr[0] == 0 && indptr[length - 1] == end;
    for (Py_ssize_t i = 1; valid && i < length; i++) {
        valid = indptr[i] >= indptr[i - 1];
        if (valid && indptr[i] - indptr[i - 1] > longest) longest = indptr[i] - indptr[i - 1]; /* both are >= 0 */
    }
    if (valid) return (Py_ssize_t)longest;
    PyErr_Format(PyExc_ValueError, "%s must begin with 0, never descend, and end with %lld", name, (long long)end);
    return -1;
}

static int check_indices(const char *name, const int32_t *indices, Py_ssize_t count, Py_ssize_t end)
{
    int valid = 1;
    for (Py_ssize_t i = 0; valid && i < count; i++) valid = indices[i] >= 0 && indices[i] < end;
    if (valid) return 0;
    PyErr_Format(PyExc_ValueError, "%s must be at least 0 and less than %zd", name, end);
    return -1;
}

#endif
