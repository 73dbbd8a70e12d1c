/* The part of onnxruntime's C API that custom operators need.

   onnxruntime's wheels have no headers. Its API is a table of function pointers whose order never changes: functions
   are only appended. Each is named here with its place in the table and the arguments that we pass. */

#ifndef AUTHORID_FUSED_ORT_H
#define AUTHORID_FUSED_ORT_H

#include <stddef.h>
#include <stdint.h>

#define ORT_VERSION 18 /* of the API: onnxruntime 1.18 and later have it */

enum { ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT8 = 3, ORT_INT32 = 6 };
enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1, ORT_VARIADIC = 2 };
enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtShape OrtShape;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtContext OrtContext;
typedef struct OrtDomain OrtDomain;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef const void *const *OrtApi;

typedef struct {
    OrtApi (*api)(uint32_t version);
    const char *(*version)(void);
} OrtApiBase;

typedef struct OrtCustomOp OrtCustomOp;
struct OrtCustomOp {
    uint32_t version;
    void *(*create)(const OrtCustomOp *, OrtApi, const OrtKernelInfo *);
    const char *(*name)(const OrtCustomOp *);
    const char *(*provider)(const OrtCustomOp *);
    int (*input_type)(const OrtCustomOp *, size_t);
    size_t (*inputs)(const OrtCustomOp *);
    int (*output_type)(const OrtCustomOp *, size_t);
    size_t (*outputs)(const OrtCustomOp *);
    void (*compute)(void *, OrtContext *);
    void (*destroy)(void *);
    int (*input_kind)(const OrtCustomOp *, size_t);
    int (*output_kind)(const OrtCustomOp *, size_t);
    int (*input_memory)(const OrtCustomOp *, size_t);
    int (*least_variadic_inputs)(const OrtCustomOp *);
    int (*homogeneous_inputs)(const OrtCustomOp *);
    int (*least_variadic_outputs)(const OrtCustomOp *);
    int (*homogeneous_outputs)(const OrtCustomOp *);
    OrtStatus *(*create_checked)(const OrtCustomOp *, OrtApi, const OrtKernelInfo *, void **);
    OrtStatus *(*compute_checked)(void *, OrtContext *);
    OrtStatus *(*infer_shape)(const OrtCustomOp *, void *);
    int (*first_version)(const OrtCustomOp *);
    int (*last_version)(const OrtCustomOp *);
    size_t (*in_place)(int **, int **);
    void (*release_in_place)(int *, int *);
    size_t (*aliases)(int **, int **);
    void (*release_aliases)(int *, int *);
};

#define ORT_CALL(api, place, type, ...) ((type(*)(__VA_ARGS__))(api)[place])

#define ort_create_status(api) ORT_CALL(api, 0, OrtStatus *, int, const char *)
#define ort_create_domain(api) ORT_CALL(api, 26, OrtStatus *, const char *, OrtDomain **)
#define ort_add_op(api) ORT_CALL(api, 27, OrtStatus *, OrtDomain *, const OrtCustomOp *)
#define ort_add_domain(api) ORT_CALL(api, 28, OrtStatus *, OrtSessionOptions *, OrtDomain *)
#define ort_data(api) ORT_CALL(api, 51, OrtStatus *, OrtValue *, void **)
#define ort_type(api) ORT_CALL(api, 60, OrtStatus *, const OrtShape *, int *)
#define ort_rank(api) ORT_CALL(api, 61, OrtStatus *, const OrtShape *, size_t *)
#define ort_dimensions(api) ORT_CALL(api, 62, OrtStatus *, const OrtShape *, int64_t *, size_t)
#define ort_shape(api) ORT_CALL(api, 65, OrtStatus *, const OrtValue *, OrtShape **)
#define ort_float_attribute(api) ORT_CALL(api, 85, OrtStatus *, const OrtKernelInfo *, const char *, float *)
#define ort_integer_attribute(api) ORT_CALL(api, 86, OrtStatus *, const OrtKernelInfo *, const char *, int64_t *)
#define ort_input_count(api) ORT_CALL(api, 88, OrtStatus *, const OrtContext *, size_t *)
#define ort_input(api) ORT_CALL(api, 90, OrtStatus *, const OrtContext *, size_t, const OrtValue **)
#define ort_output(api) ORT_CALL(api, 91, OrtStatus *, OrtContext *, size_t, const int64_t *, size_t, OrtValue **)
#define ort_release_status(api) ORT_CALL(api, 93, void, OrtStatus *)
#define ort_release_shape(api) ORT_CALL(api, 99, void, OrtShape *)
#define ort_constant_count(api) ORT_CALL(api, 230, OrtStatus *, const OrtKernelInfo *, size_t *)
#define ort_constant(api) ORT_CALL(api, 249, OrtStatus *, const OrtKernelInfo *, size_t, int *, const OrtValue **)
#define ort_parallel_for(api) \
    ORT_CALL(api, 274, OrtStatus *, const OrtContext *, void (*)(void *, size_t), size_t, size_t, void *)

#endif
