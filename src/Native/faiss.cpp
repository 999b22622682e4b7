// The FAISS C API's names and signatures over libfaiss: what Retro.Search binds to, so that an upstream libfaiss_c fits as well.
// The distribution ships the headers of that API and a static libfaiss, but no libfaiss_c. Including the headers makes the compiler
// hold every definition here against the official declaration. No exception leaves an export: a failure is a code and a text.
#pragma GCC visibility push(default)
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/IndexIVF_c.h>
#include <faiss/c_api/IndexPreTransform_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/MetaIndexes_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>

// Of the names that upstream's C API has since 1.7.4, those that search among some ids alone.
typedef struct FaissSearchParameters_H FaissSearchParameters;
typedef struct FaissIDSelectorBitmap_H FaissIDSelectorBitmap;
extern "C" {
int faiss_IDSelectorBitmap_new(FaissIDSelectorBitmap** p_sel, size_t n, const uint8_t* bitmap);
int faiss_SearchParameters_new(FaissSearchParameters** p_sp, FaissIDSelector* sel);
int faiss_SearchParametersIVF_new_with(FaissSearchParameters** p_sp, FaissIDSelector* sel, size_t nprobe, size_t max_codes);
void faiss_SearchParameters_free(FaissSearchParameters* sp);
int faiss_Index_search_with_params(
    const FaissIndex* index, idx_t n, const float* x, idx_t k, const FaissSearchParameters* params, float* distances, idx_t* labels);

// No name of upstream's, whose faiss_IndexIVF_search_preassigned takes no parameters: searches the inverted lists that are given, [n, nprobe] with the
// distances of their centroids.
int faiss_IndexIVF_search_preassigned_with_params(
    const FaissIndexIVF* index,
    idx_t n,
    const float* x,
    idx_t k,
    const idx_t* assign,
    const float* centroid_dis,
    const FaissSearchParameters* params,
    float* distances,
    idx_t* labels);
}
#pragma GCC visibility pop

#include <faiss/AutoTune.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFastScan.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/FaissAssert.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

namespace {

thread_local std::string last_error;

int fail(int code, const char* text) noexcept {
    try {
        last_error = text;
    } catch (...) {
        last_error.clear();  // no memory even for the text: the code still tells
    }
    return code;
}

template <typename Action>
int guarded(Action&& action) noexcept {
    try {
        action();
        return OK;
    } catch (const faiss::FaissException& e) {
        return fail(FAISS_EXCEPT, e.what());
    } catch (const std::exception& e) {
        return fail(STD_EXCEPT, e.what());
    } catch (...) {
        return fail(UNKNOWN_EXCEPT, "unknown exception");
    }
}

faiss::Index* index_of(FaissIndex* index) { return reinterpret_cast<faiss::Index*>(index); }
const faiss::Index* index_of(const FaissIndex* index) { return reinterpret_cast<const faiss::Index*>(index); }
FaissIndex* handle_of(faiss::Index* index) { return reinterpret_cast<FaissIndex*>(index); }

template <typename T>
T* index_as(FaissIndex* index) {
    return dynamic_cast<T*>(index_of(index));
}

// The kinds that can search among some ids alone. Others say that they cannot, some of them (1.7.3: additive codes and spectral hashes in inverted lists) from
// inside a parallel region, which ends the process.
bool takes_selector(const faiss::Index* index) {
    if (auto* transform = dynamic_cast<const faiss::IndexPreTransform*>(index)) return takes_selector(transform->index);
    return dynamic_cast<const faiss::IndexFlat*>(index) || dynamic_cast<const faiss::IndexScalarQuantizer*>(index) ||
        dynamic_cast<const faiss::IndexIVFFlat*>(index) || dynamic_cast<const faiss::IndexIVFScalarQuantizer*>(index) ||
        dynamic_cast<const faiss::IndexIVFPQ*>(index);
}

void require_selector(const faiss::Index* index, const faiss::SearchParameters* params) {
    FAISS_THROW_IF_NOT_MSG(!params || !params->sel || takes_selector(index), "an index of this kind cannot be searched among some ids");
}

}  // namespace

extern "C" {

const char* faiss_get_last_error() { return last_error.empty() ? nullptr : last_error.c_str(); }

// --- Index --------------------------------------------------------------------------------------------------------
void faiss_Index_free(FaissIndex* index) { delete index_of(index); }
int faiss_Index_d(const FaissIndex* index) { return static_cast<int>(index_of(index)->d); }
int faiss_Index_is_trained(const FaissIndex* index) { return index_of(index)->is_trained; }
idx_t faiss_Index_ntotal(const FaissIndex* index) { return index_of(index)->ntotal; }
FaissMetricType faiss_Index_metric_type(const FaissIndex* index) { return static_cast<FaissMetricType>(index_of(index)->metric_type); }

int faiss_Index_train(FaissIndex* index, idx_t n, const float* x) {
    return guarded([&] { index_of(index)->train(n, x); });
}

int faiss_Index_add(FaissIndex* index, idx_t n, const float* x) {
    return guarded([&] { index_of(index)->add(n, x); });
}

int faiss_Index_search(const FaissIndex* index, idx_t n, const float* x, idx_t k, float* distances, idx_t* labels) {
    return guarded([&] { index_of(index)->search(n, x, k, distances, labels); });
}

int faiss_Index_search_with_params(
    const FaissIndex* index, idx_t n, const float* x, idx_t k, const FaissSearchParameters* params, float* distances, idx_t* labels) {
    return guarded([&] {
        auto* own = reinterpret_cast<const faiss::SearchParameters*>(params);
        require_selector(index_of(index), own);
        index_of(index)->search(n, x, k, distances, labels, own);
    });
}

// --- Making, files ------------------------------------------------------------------------------------------------
int faiss_index_factory(FaissIndex** p_index, int d, const char* description, FaissMetricType metric) {
    return guarded([&] { *p_index = handle_of(faiss::index_factory(d, description, static_cast<faiss::MetricType>(metric))); });
}

int faiss_write_index_fname(const FaissIndex* index, const char* fname) {
    return guarded([&] {
        // libfaiss does not look at what closing the file says, so the last block of a full disk would be lost in silence.
        faiss::FileIOWriter writer(fname);
        faiss::write_index(index_of(index), &writer);
        FAISS_THROW_IF_NOT_FMT(std::fflush(writer.f) == 0, "%s could not be written to its end: %s", fname, std::strerror(errno));
    });
}

int faiss_read_index_fname(const char* fname, int io_flags, FaissIndex** p_out) {
    return guarded([&] { *p_out = handle_of(faiss::read_index(fname, io_flags)); });
}

// --- Inside of an index -------------------------------------------------------------------------------------------
FaissIndexFlat* faiss_IndexFlat_cast(FaissIndex* index) { return reinterpret_cast<FaissIndexFlat*>(index_as<faiss::IndexFlat>(index)); }

void faiss_IndexFlat_xb(FaissIndexFlat* index, float** p_xb, size_t* p_size) {
    auto* flat = reinterpret_cast<faiss::IndexFlat*>(index);
    *p_xb = flat->get_xb();
    *p_size = static_cast<size_t>(flat->ntotal) * static_cast<size_t>(flat->d);
}

FaissIndexIVF* faiss_IndexIVF_cast(FaissIndex* index) { return reinterpret_cast<FaissIndexIVF*>(index_as<faiss::IndexIVF>(index)); }
size_t faiss_IndexIVF_nlist(const FaissIndexIVF* index) { return reinterpret_cast<const faiss::IndexIVF*>(index)->nlist; }
FaissIndex* faiss_IndexIVF_quantizer(const FaissIndexIVF* index) { return handle_of(reinterpret_cast<const faiss::IndexIVF*>(index)->quantizer); }
size_t faiss_IndexIVF_nprobe(const FaissIndexIVF* index) { return reinterpret_cast<const faiss::IndexIVF*>(index)->nprobe; }
void faiss_IndexIVF_set_nprobe(FaissIndexIVF* index, size_t value) { reinterpret_cast<faiss::IndexIVF*>(index)->nprobe = value; }

FaissIndexPreTransform* faiss_IndexPreTransform_cast(FaissIndex* index) {
    return reinterpret_cast<FaissIndexPreTransform*>(index_as<faiss::IndexPreTransform>(index));
}

FaissIndex* faiss_IndexPreTransform_index(const FaissIndexPreTransform* index) {
    return handle_of(reinterpret_cast<const faiss::IndexPreTransform*>(index)->index);
}

FaissIndexIDMap* faiss_IndexIDMap_cast(FaissIndex* index) { return reinterpret_cast<FaissIndexIDMap*>(index_as<faiss::IndexIDMap>(index)); }
FaissIndex* faiss_IndexIDMap_sub_index(FaissIndexIDMap* index) { return handle_of(reinterpret_cast<faiss::IndexIDMap*>(index)->index); }

// --- Search parameters --------------------------------------------------------------------------------------------
int faiss_ParameterSpace_new(FaissParameterSpace** space) {
    return guarded([&] { *space = reinterpret_cast<FaissParameterSpace*>(new faiss::ParameterSpace()); });
}

void faiss_ParameterSpace_free(FaissParameterSpace* space) { delete reinterpret_cast<faiss::ParameterSpace*>(space); }

int faiss_ParameterSpace_set_index_parameters(const FaissParameterSpace* space, FaissIndex* index, const char* text) {
    return guarded([&] { reinterpret_cast<const faiss::ParameterSpace*>(space)->set_index_parameters(index_of(index), text); });
}

// --- Parameters of a search's own ---------------------------------------------------------------------------------
void faiss_IDSelector_free(FaissIDSelector* sel) { delete reinterpret_cast<faiss::IDSelector*>(sel); }
int faiss_IDSelectorBitmap_new(FaissIDSelectorBitmap** p_sel, size_t n, const uint8_t* bitmap) {
    return guarded([&] { *p_sel = reinterpret_cast<FaissIDSelectorBitmap*>(new faiss::IDSelectorBitmap(n, bitmap)); });
}

int faiss_SearchParameters_new(FaissSearchParameters** p_sp, FaissIDSelector* sel) {
    return guarded([&] {
        auto* params = new faiss::SearchParameters;
        params->sel = reinterpret_cast<faiss::IDSelector*>(sel);
        *p_sp = reinterpret_cast<FaissSearchParameters*>(params);
    });
}

int faiss_SearchParametersIVF_new_with(FaissSearchParameters** p_sp, FaissIDSelector* sel, size_t nprobe, size_t max_codes) {
    return guarded([&] {
        auto* params = new faiss::SearchParametersIVF;
        params->sel = reinterpret_cast<faiss::IDSelector*>(sel);
        params->nprobe = nprobe;
        params->max_codes = max_codes;
        *p_sp = reinterpret_cast<FaissSearchParameters*>(static_cast<faiss::SearchParameters*>(params));
    });
}

int faiss_IndexIVF_search_preassigned_with_params(
    const FaissIndexIVF* index,
    idx_t n,
    const float* x,
    idx_t k,
    const idx_t* assign,
    const float* centroid_dis,
    const FaissSearchParameters* params,
    float* distances,
    idx_t* labels) {
    return guarded([&] {
        auto* lists = reinterpret_cast<const faiss::IndexIVF*>(index);
        FAISS_THROW_IF_NOT_MSG(!dynamic_cast<const faiss::IndexIVFFastScan*>(lists), "an index that scans fast looks for its lists itself");
        auto* of_lists = dynamic_cast<const faiss::SearchParametersIVF*>(reinterpret_cast<const faiss::SearchParameters*>(params));
        FAISS_THROW_IF_NOT_MSG(of_lists, "parameters of inverted lists are needed");
        require_selector(lists, of_lists);
        lists->search_preassigned(n, x, k, assign, centroid_dis, distances, labels, false, of_lists);
    });
}

void faiss_SearchParameters_free(FaissSearchParameters* sp) { delete reinterpret_cast<faiss::SearchParameters*>(sp); }

}  // extern "C"
