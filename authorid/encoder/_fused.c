/* Operators that do in one pass what the stock graph does in several: see authorid/encoder/fused.py.

   Domain `authorid`:
     Linear(x u8 [..., k], kernel s8 [k, n], scales f32 [n], bias f32 [n]) -> f32 [..., n]
     LinearGelu(x, then for each strip: kernel, scales, bias, factors f32 [n]) -> u8 [..., sum of n]
     Attention(q f32 [t, b, width], k f32 [s, b, width], v, factors f32 [width]) -> u8 [t, b, width]
     Norm(x f32 [..., width], gamma, beta, factors, y f32 [..., width]) -> f32, u8 [..., width]
   The last axis of u8 is filled up to a multiple of four: a matrix product reads four columns at once. The last input of
   Norm may be absent. `factors` turn values into steps of u8, to which a zero point is added. */

#include <Python.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include "_fused_ort.h"

#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define UNROLL _Pragma("GCC unroll 16") /* small arrays of vectors then stay in registers */
#define PANEL 32 /* neurons whose weights are stored together */
#define MOST_ROWS 12    /* of a tile of a matrix product */
#define NORM_TOGETHER 4 /* rows that are normalized together */
#define MOST_QUERIES 12 /* rows of attention that are computed together */
#define GELU_BOUND 4.2 /* beyond it, GELU is the positive part */

typedef struct {
    float terms[48]; /* [degree + 1, parts], constants first */
    float parts, round; /* in a unit of t; 2^23, whose sum with a float32 has its rounded value in the last bits */
    int32_t last;       /* the bits of such a sum for the last part */
} GeluTable;

typedef struct {
    OrtApi api;
    size_t k, n, steps, panels; /* steps: of four rows; `x` has 4 * steps columns */
    size_t width;               /* columns of the output: n, or for u8 as many as the next product reads */
    int wide;            /* four products of u8 and s8 fit 16 bits */
    int8_t *weights;     /* [panels, steps, PANEL, 4] */
    struct Block *block; /* that the weights are in */
    int32_t *start;      /* [panels * PANEL]: minus the zero point of the input times the sum of a column */
    float *scales, *bias, *factors; /* [panels * PANEL]; no factors: float32 output */
    float out_zero;
    const GeluTable *gelu;
} Linear;

typedef struct {
    OrtApi api;
    size_t heads, width;
    float scale, out_zero;
    float *factors;
} Attention;

typedef struct {
    size_t queries, keys, windows;
    const float *q, *k, *v;
    uint8_t *out;
} AttentionCall;

typedef struct {
    OrtApi api;
    size_t width;
    float epsilon, out_zero;
    float *gamma, *beta, *factors;
} Norm;

/* Fill `table` with polynomials in t = |x| for GELU(x) - x / 2, which is t * (distribution(t) - 1 / 2): one for each of
   `parts` parts of 0 to GELU_BOUND, the first and the last half as long as the others. They meet the function at
   Chebyshev's points; the last is t / 2 and is used beyond GELU_BOUND too. They are off by 1e-4 at most. */
static void fill_gelu_table(GeluTable *table, int parts, int degree, int tanh_form) {
    const double length = (double)GELU_BOUND / (parts - 1), pi = 3.14159265358979323846;
    for (int part = 0; part < parts; part++) {
        const double low = part == 0 ? 0 : (part - 0.5) * length, high = (part + 0.5) * length;
        double at[4], differences[4], terms[4] = {0};
        for (int i = 0; i <= degree; i++) {
            const double t = at[i] = (low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * degree + 2));
            differences[i] = t / 2 * (tanh_form ? tanh(sqrt(2 / pi) * (t + 0.044715 * t * t * t)) : erf(t / sqrt(2)));
            if (part + 1 == parts) differences[i] = t / 2;
        }
        for (int order = 1; order <= degree; order++)
            for (int i = degree; i >= order; i--) differences[i] = (differences[i] - differences[i - 1]) / (at[i] - at[i - order]);
        for (int i = degree; i >= 0; i--) { /* terms * (t - at[i]) + differences[i] */
            for (int j = degree; j > 0; j--) terms[j] = terms[j - 1] - at[i] * terms[j];
            terms[0] = differences[i] - at[i] * terms[0];
        }
        for (int i = 0; i <= degree; i++) table->terms[i * parts + part] = (float)terms[i];
    }
    const float round = 8388608.0f, last = round + (float)(parts - 1);
    table->parts = (float)(1 / length);
    table->round = round;
    memcpy(&table->last, &last, sizeof last);
}

/* In attention: the length of the longest query and key, the total of all shares, and its product with the largest value,
   in steps. Rounding included, no sum exceeds 31 bits. */
#define SPAN 32000
#define SHARES 131072.0f
#define VALUES 2147e6f
#define AHEAD 8 /* rows of keys and values that are asked for before they are needed */

/* What turns values of at most `most` into at most `whole` steps; `step` is its inverse. */
static inline float steps_of(float most, float whole, float *step) {
    *step = most / whole;
    return most > 1e-30f ? whole / most : 0;
}

/* ---- AVX2 --------------------------------------------------------------------------------------------------------- */
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAME(x) x##_avx2
#define LANES 8
#define TILES \
    if (op->wide) { \
        ROWS_AT_ONCE(2, 4, 1) \
        ROWS_AT_ONCE(1, 4, 1) \
    } \
    ROWS_AT_ONCE(5, 2, 0) \
    ROWS_AT_ONCE(2, 4, 0) \
    ROWS_AT_ONCE(1, 4, 0)
#define QUERIES 6
#define GELU_DEGREE 3
#define VI __m256i
#define VF __m256
#define VI_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define VI_STORE(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define VI_BYTES(p) _mm256_set1_epi32(*(const int32_t *)(p))
static inline __attribute__((always_inline)) __m256i add_avx2(__m256i sum, __m256i x) {
    __asm__("vpaddd %1, %0, %0" : "+v"(sum) : "v"(x));
    return sum;
}
#define V_DOT(sum, a, b) add_avx2(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)))
#define V_DOT_TWICE(sum, a, b, c, d) \
    add_avx2(sum, _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(a, b), _mm256_maddubs_epi16(c, d)), _mm256_set1_epi16(1)))
#define VF_OF _mm256_cvtepi32_ps
#define VI_ROUND _mm256_cvtps_epi32
#define VF_LOAD _mm256_loadu_ps
#define VF_STORE _mm256_storeu_ps
#define VF_SET _mm256_set1_ps
#define VF_FMA _mm256_fmadd_ps
#define VF_MUL _mm256_mul_ps
#define VF_ADD _mm256_add_ps
#define VF_SUB _mm256_sub_ps
#define VF_MIN _mm256_min_ps
#define VF_MAX _mm256_max_ps
#define VF_ADD_EXPONENT(x, n) \
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(n), 23)))
#define VF_FIRST(x, n) \
    _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))))
#define VF_LOAD_FIRST(p, n) \
    ((n) >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))))
#define VF_LOOK_UP(p, i) _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), i)
#define VF_SIZE(x) _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX)))
#define VI_PART _mm256_castps_si256
#define VI_LEAST _mm256_min_epu32
#define V_BELOW_256(x) _mm256_min_ps(x, _mm256_set1_ps(255))
#define VF_TOTAL total_avx2
#define VI_HIGHEST highest_avx2
#define VI_ZERO _mm256_setzero_si256()
#define VI_SET _mm256_set1_epi32
#define VI_SUB _mm256_sub_epi32
#define VI_MAX _mm256_max_epi32
#define VI_PAIRS(a, b) _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa)
#define VI_STORE_WORDS_OF_TWO(p, x, y) \
    _mm256_storeu_si256((__m256i *)(p), _mm256_permute4x64_epi64(_mm256_packs_epi32(x, y), 0xd8))
#define V_DOT_WORDS(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
static inline void store_bytes_avx2(uint8_t *to, __m256i x) {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}
#define VI_STORE_BYTES store_bytes_avx2
static inline void store_bytes_of_two_avx2(uint8_t *to, __m256i x, __m256i y) {
    const __m256i words = _mm256_packs_epi32(x, y), bytes = _mm256_packus_epi16(words, words);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
}
#define VI_STORE_BYTES_OF_TWO store_bytes_of_two_avx2
static inline float total_avx2(__m256 x) {
    __m128 sums = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    sums = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
    return _mm_cvtss_f32(_mm_add_ss(sums, _mm_movehdup_ps(sums)));
}
static inline int32_t highest_avx2(__m256i x) {
    __m128i most = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    most = _mm_max_epi32(most, _mm_unpackhi_epi64(most, most));
    return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 1)));
}
#include "_fused_kernels.h"
#pragma GCC pop_options
#undef NAME
#undef LANES
#undef TILES
#undef QUERIES
#undef GELU_DEGREE
#undef VI
#undef VF
#undef VI_LOAD
#undef VI_STORE
#undef VI_BYTES
#undef V_DOT
#undef V_DOT_TWICE
#undef VF_OF
#undef VI_ROUND
#undef VF_LOAD
#undef VF_STORE
#undef VF_SET
#undef VF_FMA
#undef VF_MUL
#undef VF_ADD
#undef VF_SUB
#undef VF_MIN
#undef VF_MAX
#undef VF_ADD_EXPONENT
#undef VF_FIRST
#undef VF_LOAD_FIRST
#undef VF_LOOK_UP
#undef VF_SIZE
#undef VI_PART
#undef VI_LEAST
#undef V_BELOW_256
#undef VF_TOTAL
#undef VI_HIGHEST
#undef VI_ZERO
#undef VI_SET
#undef VI_SUB
#undef VI_MAX
#undef VI_PAIRS
#undef VI_STORE_WORDS_OF_TWO
#undef V_DOT_WORDS
#undef VI_STORE_BYTES
#undef VI_STORE_BYTES_OF_TWO

/* ---- AVX-512 with VNNI -------------------------------------------------------------------------------------------- */
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")
#define NAME(x) x##_avx512
#define LANES 16
#define TILES \
    ROWS_AT_ONCE(12, 2, 0) \
    ROWS_AT_ONCE(8, 2, 0) \
    ROWS_AT_ONCE(4, 2, 0) \
    ROWS_AT_ONCE(2, 2, 0) \
    ROWS_AT_ONCE(1, 2, 0)
#define QUERIES 12
#define GELU_DEGREE 2
#define VI __m512i
#define VF __m512
#define VI_LOAD(p) _mm512_loadu_si512(p)
#define VI_STORE(p, x) _mm512_storeu_si512(p, x)
#define VI_BYTES(p) _mm512_set1_epi32(*(const int32_t *)(p))
static inline __attribute__((always_inline)) __m512i dot_avx512(__m512i sum, __m512i a, __m512i b) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
#define V_DOT dot_avx512
#define VF_OF _mm512_cvtepi32_ps
#define VI_ROUND _mm512_cvtps_epi32
#define VF_LOAD _mm512_loadu_ps
#define VF_STORE _mm512_storeu_ps
#define VF_SET _mm512_set1_ps
#define VF_FMA _mm512_fmadd_ps
#define VF_MUL _mm512_mul_ps
#define VF_ADD _mm512_add_ps
#define VF_SUB _mm512_sub_ps
#define VF_MIN _mm512_min_ps
#define VF_MAX _mm512_max_ps
#define VF_ADD_EXPONENT(x, n) \
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(_mm512_castps_si512(n), 23)))
#define VF_FIRST(x, n) _mm512_maskz_mov_ps((__mmask16)((1u << (n)) - 1), x)
#define VF_LOAD_FIRST(p, n) ((n) >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p))
#define VF_LOOK_UP(p, i) _mm512_permutexvar_ps(i, _mm512_loadu_ps(p))
#define VF_SIZE _mm512_abs_ps
#define VI_PART _mm512_castps_si512
#define VI_LEAST _mm512_min_epu32
#define V_BELOW_256(x) (x) /* VI_STORE_BYTES saturates */
#define VF_TOTAL _mm512_reduce_add_ps
#define VI_HIGHEST _mm512_reduce_max_epi32
#define VI_ZERO _mm512_setzero_si512()
#define VI_SET _mm512_set1_epi32
#define VI_SUB _mm512_sub_epi32
#define VI_MAX _mm512_max_epi32
#define VI_PAIRS(a, b) _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16))
#define VI_STORE_WORDS_OF_TWO(p, x, y) \
    _mm512_storeu_si512(p, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_packs_epi32(x, y)))
#define V_DOT_WORDS _mm512_dpwssd_epi32
static inline void store_bytes_of_two_avx512(uint8_t *to, __m512i x, __m512i y) {
    const __m512i words = _mm512_packs_epi32(x, y), bytes = _mm512_packus_epi16(words, words);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, bytes)));
}
#define VI_STORE_BYTES_OF_TWO store_bytes_of_two_avx512
#define VI_STORE_BYTES(p, x) _mm_storeu_si128((__m128i *)(p), _mm512_cvtusepi32_epi8(x))
#include "_fused_kernels.h"
#pragma GCC pop_options

typedef struct {
    const char *name;
    const GeluTable *gelu; /* in its exact form, and the one with tanh */
    void (*panel)(const Linear *, const uint8_t *, size_t, size_t, void *);
    void (*head)(const Attention *, const AttentionCall *, size_t, size_t, void *);
    void (*normalize)(const Norm *, size_t, const float *, const float *, float *, uint8_t *);
} Kernels;

static GeluTable gelu_avx2_tables[2], gelu_avx512_tables[2];
static const Kernels AVX2 = {"avx2", gelu_avx2_tables, panel_avx2, head_avx2, normalize_avx2};
static const Kernels AVX512 = {"avx512-vnni", gelu_avx512_tables, panel_avx512, head_avx512, normalize_avx512};
static const Kernels *kernels; /* NULL where no instruction set of these is there */

/* With the environment variable AUTHORID_FUSED_KERNELS=avx2, those are used on every processor: so the tests do. */
static const Kernels *best_kernels(void) {
    const char *wanted = getenv("AUTHORID_FUSED_KERNELS");
    __builtin_cpu_init();
    if ((wanted == NULL || strcmp(wanted, AVX2.name) != 0) && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &AVX2 : NULL;
}

/* ---- reading what onnxruntime passes ------------------------------------------------------------------------------ */

static OrtStatus *failure(OrtApi api, const char *message) { return ort_create_status(api)(ORT_FAIL, message); }

#define CHECK(call) \
    do { \
        OrtStatus *status_ = (call); \
        if (status_ != NULL) return status_; \
    } while (0)

enum { MOST_AXES = 4 };

typedef struct {
    size_t rank, count; /* count: of all values */
    int64_t axes[MOST_AXES];
    const void *data;
} Tensor;

static OrtStatus *read_tensor(OrtApi api, const OrtValue *value, int type, Tensor *tensor) {
    OrtShape *shape;
    int actual;
    CHECK(ort_shape(api)(value, &shape));
    OrtStatus *status = ort_type(api)(shape, &actual);
    if (status == NULL && actual != type) status = failure(api, "a tensor has the wrong type");
    if (status == NULL) status = ort_rank(api)(shape, &tensor->rank);
    if (status == NULL && tensor->rank > MOST_AXES) status = failure(api, "too many axes");
    if (status == NULL) status = ort_dimensions(api)(shape, tensor->axes, tensor->rank);
    ort_release_shape(api)(shape);
    CHECK(status);
    tensor->count = 1;
    for (size_t i = 0; i < tensor->rank; i++) tensor->count *= (size_t)tensor->axes[i];
    return ort_data(api)((OrtValue *)value, (void **)&tensor->data);
}

static OrtStatus *read_input(OrtApi api, OrtContext *context, size_t index, int type, Tensor *tensor) {
    const OrtValue *value = NULL;
    CHECK(ort_input(api)(context, index, &value));
    tensor->data = NULL;
    return value == NULL ? NULL : read_tensor(api, value, type, tensor);
}

static OrtStatus *read_constant(OrtApi api, const OrtKernelInfo *info, size_t index, int type, Tensor *tensor) {
    const OrtValue *value = NULL;
    int constant = 0;
    CHECK(ort_constant(api)(info, index, &constant, &value));
    return constant && value != NULL ? read_tensor(api, value, type, tensor) : failure(api, "weights must be constants");
}

static OrtStatus *new_output(OrtApi api, OrtContext *context, size_t index, const Tensor *like, int64_t last, void **data) {
    int64_t axes[MOST_AXES];
    OrtValue *value;
    memcpy(axes, like->axes, sizeof axes);
    axes[like->rank - 1] = last;
    CHECK(ort_output(api)(context, index, axes, like->rank, &value));
    return ort_data(api)(value, data);
}

static OrtStatus *run_tasks(OrtApi api, OrtContext *context, void (*task)(void *, size_t), size_t count, void *call) {
    return ort_parallel_for(api)(context, task, count, 0, call);
}

/* An array of `count` floats, zeros first to a whole number of panels. */
static float *new_floats(size_t count) { return calloc((count + PANEL - 1) / PANEL * PANEL, sizeof(float)); }

static OrtStatus *copy_floats(OrtApi api, const OrtKernelInfo *info, size_t index, float *to, size_t count) {
    Tensor tensor;
    CHECK(read_constant(api, info, index, ORT_FLOAT, &tensor));
    if (tensor.count != count) return failure(api, "a vector of weights has the wrong length");
    memcpy(to, tensor.data, count * sizeof(float));
    return NULL;
}

/* ---- memory for weights ------------------------------------------------------------------------------------------- */

/* Weights of many products lie in one block, in pages of 2 MB where the system has them: a product reads so many pages of
   4 kB that their addresses do not stay in the processor's tables. A block is freed when no product uses it any more. */
enum { HUGE_PAGE = 1 << 21, BLOCK = 4 * HUGE_PAGE };

typedef struct Block {
    char *memory;
    size_t used, size, users;
} Block;

static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static Block *open_block; /* the one that may have room left */

static Block *new_block(size_t bytes) {
    Block *block = calloc(1, sizeof *block);
    if (block == NULL) return NULL;
    block->size = (bytes > BLOCK ? bytes + HUGE_PAGE - 1 : BLOCK) / HUGE_PAGE * HUGE_PAGE;
    block->memory = aligned_alloc(HUGE_PAGE, block->size);
    if (block->memory == NULL) {
        free(block);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    madvise(block->memory, block->size, MADV_HUGEPAGE); /* if that fails, the pages are small */
#endif
    return block;
}

/* `bytes` bytes, a multiple of 64, in a block to which the caller gives them back; NULL without memory. */
static void *take_bytes(size_t bytes, Block **block) {
    void *taken = NULL;
    pthread_mutex_lock(&blocks_lock);
    if (open_block == NULL || open_block->size - open_block->used < bytes) {
        Block *created = new_block(bytes);
        if (created != NULL) open_block = created;
    }
    if (open_block != NULL && open_block->size - open_block->used >= bytes) {
        taken = open_block->memory + open_block->used;
        open_block->used += bytes;
        open_block->users++;
        *block = open_block;
    }
    pthread_mutex_unlock(&blocks_lock);
    return taken;
}

static void give_back(Block *block) {
    if (block == NULL) return;
    pthread_mutex_lock(&blocks_lock);
    if (--block->users == 0) {
        if (open_block == block) open_block = NULL;
        free(block->memory);
        free(block);
    }
    pthread_mutex_unlock(&blocks_lock);
}

/* ---- Linear, LinearGelu ------------------------------------------------------------------------------------------- */

static void linear_destroy(void *kernel) {
    Linear *op = kernel;
    give_back(op->block);
    free(op->start);
    free(op->scales);
    free(op->bias);
    free(op->factors);
    free(op);
}

/* Put the columns of `kernel` [k, n] behind the `first` that are there. */
static void pack(Linear *op, const int8_t *kernel, size_t n, size_t first, int32_t zero) {
    for (size_t column = 0; column < n; column++) {
        const size_t at = first + column, panel = at / PANEL;
        int8_t *to = op->weights + panel * op->steps * 4 * PANEL + at % PANEL * 4;
        int32_t sum = 0;
        for (size_t row = 0; row < op->k; row++) {
            const int8_t weight = kernel[row * n + column];
            to[row / 4 * 4 * PANEL + row % 4] = weight;
            sum += weight;
        }
        op->start[at] = -zero * sum;
        for (size_t row = 0; op->wide && row < op->k; row += 8)
            for (size_t first = row; first < row + 4; first += 2) {
                /* the four products that meet in 16 bits */
                const size_t meeting[4] = {first, first + 1, first + 4, first + 5};
                int up = 0, down = 0;
                for (int j = 0; j < 4; j++) {
                    const int weight = meeting[j] < op->k ? kernel[meeting[j] * n + column] : 0;
                    *(weight > 0 ? &up : &down) += weight;
                }
                if (up * 255 > 32767 || down * 255 < -32768) op->wide = 0;
            }
    }
}

static OrtStatus *fill_linear(Linear *op, const OrtKernelInfo *info, size_t inputs, int gelu) {
    const OrtApi api = op->api;
    const size_t each = gelu ? 4 : 3;
    float scale;
    int64_t zero;
    CHECK(ort_float_attribute(api)(info, "x_scale", &scale));
    CHECK(ort_integer_attribute(api)(info, "x_zero", &zero));
    if (zero < 0 || zero > 255) return failure(api, "a zero point is no byte");
    if (gelu) {
        int64_t out_zero, approximate;
        CHECK(ort_integer_attribute(api)(info, "out_zero", &out_zero));
        CHECK(ort_integer_attribute(api)(info, "tanh", &approximate));
        op->out_zero = (float)out_zero;
        op->gelu = kernels->gelu + (approximate != 0);
    }
    Tensor kernel;
    for (size_t at = 1; at + each <= inputs; at += each) {
        CHECK(read_constant(api, info, at, ORT_INT8, &kernel));
        if (kernel.rank != 2 || (op->k != 0 && op->k != (size_t)kernel.axes[0])) return failure(api, "kernels differ in shape");
        op->k = (size_t)kernel.axes[0];
        op->n += (size_t)kernel.axes[1];
    }
    if (op->k == 0 || op->n == 0) return failure(api, "a kernel is empty");
    op->steps = (op->k + 3) / 4;
    op->width = gelu ? (op->n + 3) / 4 * 4 : op->n;
    op->panels = (op->n + PANEL - 1) / PANEL;
    op->wide = 1;
    op->weights = take_bytes(op->panels * op->steps * 4 * PANEL, &op->block);
    op->start = calloc(op->panels * PANEL, sizeof(int32_t));
    op->scales = new_floats(op->n);
    op->bias = new_floats(op->n);
    if (gelu) op->factors = new_floats(op->n);
    if (op->weights == NULL || op->start == NULL || op->scales == NULL || op->bias == NULL || (gelu && op->factors == NULL))
        return failure(api, "out of memory");
    memset(op->weights, 0, op->panels * op->steps * 4 * PANEL);
    size_t first = 0;
    for (size_t at = 1; at + each <= inputs; at += each) {
        CHECK(read_constant(api, info, at, ORT_INT8, &kernel));
        const size_t n = (size_t)kernel.axes[1];
        pack(op, kernel.data, n, first, (int32_t)zero);
        CHECK(copy_floats(api, info, at + 1, op->scales + first, n));
        CHECK(copy_floats(api, info, at + 2, op->bias + first, n));
        if (gelu) CHECK(copy_floats(api, info, at + 3, op->factors + first, n));
        first += n;
    }
    for (size_t i = 0; i < op->n; i++) op->scales[i] *= scale;
    return NULL;
}

static OrtStatus *new_linear(OrtApi api, const OrtKernelInfo *info, void **kernel, int gelu) {
    size_t inputs;
    CHECK(ort_constant_count(api)(info, &inputs));
    Linear *op = calloc(1, sizeof *op);
    if (op == NULL) return failure(api, "out of memory");
    op->api = api;
    OrtStatus *status = fill_linear(op, info, inputs, gelu);
    if (status == NULL) *kernel = op;
    else linear_destroy(op);
    return status;
}

static OrtStatus *linear_create(const OrtCustomOp *self, OrtApi api, const OrtKernelInfo *info, void **kernel) {
    (void)self;
    return new_linear(api, info, kernel, 0);
}

static OrtStatus *linear_gelu_create(const OrtCustomOp *self, OrtApi api, const OrtKernelInfo *info, void **kernel) {
    (void)self;
    return new_linear(api, info, kernel, 1);
}

typedef struct {
    const Linear *op;
    const uint8_t *x;
    size_t rows;
    void *out;
} LinearCall;

static void linear_task(void *data, size_t panel) {
    const LinearCall *call = data;
    kernels->panel(call->op, call->x, call->rows, panel, call->out);
}

static OrtStatus *linear_compute(void *kernel, OrtContext *context) {
    const Linear *op = kernel;
    Tensor x;
    CHECK(read_input(op->api, context, 0, ORT_UINT8, &x));
    if (x.data == NULL || x.rank == 0 || (size_t)x.axes[x.rank - 1] != 4 * op->steps) return failure(op->api, "x does not fit the kernel");
    LinearCall call = {op, x.data, x.count / (4 * op->steps), NULL};
    CHECK(new_output(op->api, context, 0, &x, (int64_t)op->width, &call.out));
    return call.rows == 0 ? NULL : run_tasks(op->api, context, linear_task, op->panels, &call);
}

/* ---- Attention ---------------------------------------------------------------------------------------------------- */

static void attention_destroy(void *kernel) {
    free(((Attention *)kernel)->factors);
    free(kernel);
}

static OrtStatus *fill_attention(Attention *op, const OrtKernelInfo *info) {
    int64_t heads, out_zero;
    Tensor factors;
    CHECK(ort_integer_attribute(op->api)(info, "heads", &heads));
    CHECK(ort_integer_attribute(op->api)(info, "out_zero", &out_zero));
    CHECK(ort_float_attribute(op->api)(info, "scale", &op->scale));
    CHECK(read_constant(op->api, info, 3, ORT_FLOAT, &factors));
    op->heads = (size_t)heads;
    op->width = factors.count;
    op->out_zero = (float)out_zero;
    if (heads < 1 || op->width == 0 || op->width % op->heads != 0) return failure(op->api, "heads do not divide the width");
    op->factors = new_floats(op->width);
    if (op->factors == NULL) return failure(op->api, "out of memory");
    return copy_floats(op->api, info, 3, op->factors, op->width);
}

static OrtStatus *attention_create(const OrtCustomOp *self, OrtApi api, const OrtKernelInfo *info, void **kernel) {
    (void)self;
    Attention *op = calloc(1, sizeof *op);
    if (op == NULL) return failure(api, "out of memory");
    op->api = api;
    OrtStatus *status = fill_attention(op, info);
    if (status == NULL) *kernel = op;
    else attention_destroy(op);
    return status;
}

typedef struct {
    const Attention *op;
    AttentionCall call;
    size_t scratch; /* bytes that a task needs */
    int failed;
} AttentionTasks;

static void attention_task(void *data, size_t index) {
    AttentionTasks *tasks = data;
    void *scratch = aligned_alloc(64, tasks->scratch);
    if (scratch == NULL) {
        __atomic_store_n(&tasks->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    kernels->head(tasks->op, &tasks->call, index / tasks->op->heads, index % tasks->op->heads, scratch);
    free(scratch);
}

static OrtStatus *attention_compute(void *kernel, OrtContext *context) {
    const Attention *op = kernel;
    Tensor q, k, v;
    CHECK(read_input(op->api, context, 0, ORT_FLOAT, &q));
    CHECK(read_input(op->api, context, 1, ORT_FLOAT, &k));
    CHECK(read_input(op->api, context, 2, ORT_FLOAT, &v));
    if (q.data == NULL || k.data == NULL || v.data == NULL || q.rank != 3 || k.rank != 3 || v.rank != 3 || (size_t)q.axes[2] != op->width || memcmp(k.axes, v.axes, 24) != 0 ||
        memcmp(q.axes + 1, k.axes + 1, 16) != 0)
        return failure(op->api, "queries, keys and values do not fit each other");
    void *out;
    CHECK(new_output(op->api, context, 0, &q, q.axes[2], &out));
    AttentionTasks tasks = {
        op, {(size_t)q.axes[0], (size_t)k.axes[0], (size_t)q.axes[1], q.data, k.data, v.data, out}, 0, 0};
    if (q.count == 0 || k.count == 0) return NULL;
    const size_t s = tasks.call.keys + 31, d = op->width / op->heads + 31; /* at least what is padded to a group */
    tasks.scratch = (sizeof(float) * (s * d + MOST_QUERIES * 3 * (s + d) / 2 + 2 * d) + 63) / 64 * 64;
    CHECK(run_tasks(op->api, context, attention_task, tasks.call.windows * op->heads, &tasks));
    return tasks.failed ? failure(op->api, "out of memory") : NULL;
}

/* ---- Norm --------------------------------------------------------------------------------------------------------- */

static void norm_destroy(void *kernel) {
    Norm *op = kernel;
    free(op->gamma);
    free(op->beta);
    free(op->factors);
    free(op);
}

static OrtStatus *fill_norm(Norm *op, const OrtKernelInfo *info) {
    int64_t out_zero;
    Tensor gamma;
    CHECK(ort_integer_attribute(op->api)(info, "out_zero", &out_zero));
    CHECK(ort_float_attribute(op->api)(info, "epsilon", &op->epsilon));
    CHECK(read_constant(op->api, info, 1, ORT_FLOAT, &gamma));
    op->width = gamma.count;
    op->out_zero = (float)out_zero;
    if (op->width == 0 || op->width % 16 != 0) return failure(op->api, "the width must be a multiple of 16");
    op->gamma = new_floats(op->width);
    op->beta = new_floats(op->width);
    op->factors = new_floats(op->width);
    if (op->gamma == NULL || op->beta == NULL || op->factors == NULL) return failure(op->api, "out of memory");
    CHECK(copy_floats(op->api, info, 1, op->gamma, op->width));
    CHECK(copy_floats(op->api, info, 2, op->beta, op->width));
    return copy_floats(op->api, info, 3, op->factors, op->width);
}

static OrtStatus *norm_create(const OrtCustomOp *self, OrtApi api, const OrtKernelInfo *info, void **kernel) {
    (void)self;
    Norm *op = calloc(1, sizeof *op);
    if (op == NULL) return failure(api, "out of memory");
    op->api = api;
    OrtStatus *status = fill_norm(op, info);
    if (status == NULL) *kernel = op;
    else norm_destroy(op);
    return status;
}

enum { NORM_ROWS = 16 }; /* in a task */

typedef struct {
    const Norm *op;
    const float *x, *y;
    float *out;
    uint8_t *steps;
    size_t rows;
} NormCall;

static void norm_task(void *data, size_t index) {
    const NormCall *call = data;
    const size_t row = index * NORM_ROWS, rows = call->rows - row < NORM_ROWS ? call->rows - row : NORM_ROWS;
    const size_t at = row * call->op->width;
    kernels->normalize(call->op, rows, call->x + at, call->y == NULL ? NULL : call->y + at, call->out + at, call->steps + at);
}

static OrtStatus *norm_compute(void *kernel, OrtContext *context) {
    const Norm *op = kernel;
    Tensor x, y = {0};
    size_t inputs;
    CHECK(ort_input_count(op->api)(context, &inputs));
    CHECK(read_input(op->api, context, 0, ORT_FLOAT, &x));
    if (inputs > 4) CHECK(read_input(op->api, context, 4, ORT_FLOAT, &y));
    if (x.data == NULL || x.rank == 0 || (size_t)x.axes[x.rank - 1] != op->width || (y.data != NULL && y.count != x.count))
        return failure(op->api, "x does not fit the norm");
    NormCall call = {op, x.data, y.data, NULL, NULL, x.count / op->width};
    CHECK(new_output(op->api, context, 0, &x, (int64_t)op->width, (void **)&call.out));
    CHECK(new_output(op->api, context, 1, &x, (int64_t)op->width, (void **)&call.steps));
    return run_tasks(op->api, context, norm_task, (call.rows + NORM_ROWS - 1) / NORM_ROWS, &call);
}

/* ---- what onnxruntime asks about the operators -------------------------------------------------------------------- */

typedef struct {
    OrtCustomOp op; /* first, so that a pointer to it is one to this */
    const char *name;
    size_t inputs, outputs;
    int input_types[5], output_types[2];
    int variadic, optional; /* about the last input */
} Operator;

#define SELF ((const Operator *)self)
static const char *op_name(const OrtCustomOp *self) { return SELF->name; }
static const char *op_provider(const OrtCustomOp *self) { (void)self; return NULL; }
static size_t op_inputs(const OrtCustomOp *self) { return SELF->inputs; }
static size_t op_outputs(const OrtCustomOp *self) { return SELF->outputs; }
static int op_input_type(const OrtCustomOp *self, size_t index) { return SELF->input_types[index]; }
static int op_output_type(const OrtCustomOp *self, size_t index) { return SELF->output_types[index]; }
static int op_input_kind(const OrtCustomOp *self, size_t index) {
    if (index + 1 < SELF->inputs) return ORT_REQUIRED;
    return SELF->variadic ? ORT_VARIADIC : SELF->optional ? ORT_OPTIONAL : ORT_REQUIRED;
}
static int op_zero(const OrtCustomOp *self) { (void)self; return 0; }
static int op_one(const OrtCustomOp *self) { (void)self; return 1; }
static int op_latest(const OrtCustomOp *self) { (void)self; return INT32_MAX; }
static int op_zero_at(const OrtCustomOp *self, size_t index) { (void)self; (void)index; return 0; }

#define OPERATOR(create_, compute_, destroy_) \
    {.version = ORT_VERSION, .name = op_name, .provider = op_provider, .input_type = op_input_type, .inputs = op_inputs, \
     .output_type = op_output_type, .outputs = op_outputs, .destroy = destroy_, .input_kind = op_input_kind, \
     .output_kind = op_zero_at, .input_memory = op_zero_at, .least_variadic_inputs = op_one, .homogeneous_inputs = op_zero, \
     .least_variadic_outputs = op_zero, .homogeneous_outputs = op_zero, .create_checked = create_, \
     .compute_checked = compute_, .first_version = op_one, .last_version = op_latest}

static const Operator OPERATORS[] = {
    {OPERATOR(linear_create, linear_compute, linear_destroy), "Linear", 2, 1, {ORT_UINT8, 0}, {ORT_FLOAT}, 1, 0},
    {OPERATOR(linear_gelu_create, linear_compute, linear_destroy), "LinearGelu", 2, 1, {ORT_UINT8, 0}, {ORT_UINT8}, 1, 0},
    {OPERATOR(attention_create, attention_compute, attention_destroy), "Attention", 4, 1,
     {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, {ORT_UINT8}, 0, 0},
    {OPERATOR(norm_create, norm_compute, norm_destroy), "Norm", 5, 2,
     {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, {ORT_FLOAT, ORT_UINT8}, 0, 1},
};

static OrtStatus *new_domain(OrtApi api, OrtDomain **domain) {
    OrtDomain *created;
    CHECK(ort_create_domain(api)("authorid", &created));
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS; i++) CHECK(ort_add_op(api)(created, &OPERATORS[i].op));
    *domain = created;
    return NULL;
}

/* onnxruntime calls this for each session that loads the library. */
__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static OrtDomain *domain; /* sessions point to it: it lives as long as the process */
    const OrtApi api = base->api(ORT_VERSION);
    if (api == NULL) return NULL; /* an onnxruntime before 1.18: it will not know the operators */
    if (best_kernels() == NULL) return failure(api, "this processor lacks AVX2");
    OrtStatus *status = NULL;
    pthread_mutex_lock(&lock);
    kernels = best_kernels();
    for (int tanh_form = 0; domain == NULL && tanh_form < 2; tanh_form++) {
        fill_gelu_table(gelu_avx2_tables + tanh_form, 8, 3, tanh_form);
        fill_gelu_table(gelu_avx512_tables + tanh_form, 16, 2, tanh_form);
    }
    if (domain == NULL) status = new_domain(api, &domain);
    pthread_mutex_unlock(&lock);
    return status != NULL ? status : ort_add_domain(api)(options, domain);
}

static const char *kernels_name(void) {
    const Kernels *best = best_kernels();
    return best == NULL ? NULL : best->name;
}

#else /* another processor, or a compiler without these intrinsics: there is nothing to register */

static const char *kernels_name(void) { return NULL; }

#endif

/* ---- the Python module -------------------------------------------------------------------------------------------- */

static PyObject *module_kernels(PyObject *self, PyObject *arguments) {
    (void)self;
    (void)arguments;
    const char *name = kernels_name();
    if (name == NULL) Py_RETURN_NONE;
    return PyUnicode_FromString(name);
}

static PyMethodDef METHODS[] = {
    {"kernels", module_kernels, METH_NOARGS, "Name of the instruction set that the operators use here, or None."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_fused", "A library of operators for onnxruntime.", -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fused(void) { return PyModule_Create(&MODULE); }
