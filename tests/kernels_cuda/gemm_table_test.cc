#include "kernels/cuda/gemm_table.h"

#include <cstring>

#include "kernels/cuda/context.h"
#include "kernels/gemm_tuning.h"
#include "tests/kernels_cuda/device_test.h"

// Tables of measured GEMM algorithms: their text, when a row counts, and that no row fails a run.
namespace strait::kernels::cuda {
namespace {

using namespace test;

/// A product whose addresses are multiples of `alignment`; no memory behind it.
Gemm product_at(std::uintptr_t alignment, std::int64_t rows = 64) {
  const auto matrix = [&](std::int64_t height, std::int64_t width) {
    return Tensor(reinterpret_cast<void*>(alignment), DType::bf16, {height, width});
  };
  return {.a = matrix(rows, 32), .b = matrix(48, 32), .c = matrix(rows, 48), .trans_b = true};
}

GemmTableRow row_of(unsigned char byte) {
  GemmTableRow row{.us = 12.5, .heuristic_us = 13.5};
  std::memset(&row.algorithm, byte, sizeof row.algorithm);
  return row;
}

TEST(GemmTable, TextReadsBackAsItWas) {
  GemmTable table("Some GPU", 130100);
  table.set(GemmShape(product_at(256)), row_of(0xa5));
  table.set(GemmShape(product_at(256, 80)), row_of(0));
  const GemmTable read = GemmTable::parse(table.text());
  EXPECT_EQ(read.text(), table.text());
  EXPECT_EQ(read.size(), 2u);
  const GemmTableRow* row = read.find(GemmShape(product_at(256)));
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->us, 12.5);
  const GemmTableRow expected = row_of(0xa5);
  EXPECT_EQ(std::memcmp(&row->algorithm, &expected.algorithm, sizeof row->algorithm), 0);
}

TEST(GemmTable, ARowCountsForItsShapeAndAlignedAddresses) {
  GemmTable table("Some GPU", 130100);
  table.set(GemmShape(product_at(256)), row_of(1));
  EXPECT_NE(table.find(GemmShape(product_at(16))), nullptr);
  EXPECT_EQ(table.find(GemmShape(product_at(8))), nullptr);
  EXPECT_EQ(table.find(GemmShape(product_at(256, 65))), nullptr);
  Gemm adding = product_at(256);
  adding.accumulate = true;
  EXPECT_NE(table.find(GemmShape(adding)), nullptr) << "what assigns can add";
  Gemm strided = product_at(256);
  strided.c.stride[0] = 96;
  EXPECT_EQ(table.find(GemmShape(strided)), nullptr);
}

TEST(GemmTable, BelongsToOneDeviceAndLibrary) {
  const GemmTable table("Some GPU", 130100);
  EXPECT_TRUE(table.fits("Some GPU", 130100));
  EXPECT_FALSE(table.fits("Some GPU", 130200));
  EXPECT_FALSE(table.fits("Another GPU", 130100));
  EXPECT_EQ(GemmTable::built_in("Another GPU", 130100).size(), 0u);
}

TEST(GemmTable, LinesThatAreNoRowsArePassedOver) {
  const GemmTable table = GemmTable::parse("# words\n1 2 3 -> 1 2 3 | 1 us, 1\nx -> y\n\n");
  EXPECT_EQ(table.size(), 0u);
}

class CudaGemmTable : public DeviceTest {};

/// The product computed by a plan with this table, beside the same without one.
void expect_same_result(const GemmTable& table, GemmOrigin expected) {
  Side side(Side::Kind::device, DType::bf16);
  Gemm op{.a = side.input("a", {64, 32}),
          .b = side.input("b", {48, 32}),
          .c = side.output("c", {64, 48}),
          .trans_b = true};
  Context& context = Context::current();
  GemmPlan plan(context.cublas(), GemmShape(op), Context::kWorkspace, table);
  void* workspace = context.workspace(side.stream(), Context::kWorkspace);
  plan.run(context.cublas(), op, workspace, nullptr);
  EXPECT_EQ(plan.origin(), expected);
  const auto first = side.collect();
  GemmPlan plain(context.cublas(), GemmShape(op), Context::kWorkspace, GemmTable());
  plain.run(context.cublas(), op, workspace, nullptr);
  EXPECT_EQ(plain.origin(), GemmOrigin::heuristic);
  EXPECT_LE(strait::test::relative_l2(first.back().view, side.collect().back().view), 1e-2);
}

TEST_F(CudaGemmTable, TuningWritesARowThatPlansTake) {
  const GemmTuning tuning = tune_gemms({product_at(256), product_at(256)}, "");
  const GemmTable table = GemmTable::parse(tuning.table);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_TRUE(table.fits(device_name(), cublasLtGetVersion()));
  EXPECT_EQ(tuning.file.find(' '), std::string::npos) << tuning.file;
  expect_same_result(table, GemmOrigin::table);
}

TEST_F(CudaGemmTable, TuningKeepsRowsOfOtherShapes) {
  GemmTable old(device_name(), cublasLtGetVersion());
  old.set(GemmShape(product_at(256, 80)), row_of(7));
  EXPECT_EQ(GemmTable::parse(tune_gemms({product_at(256)}, old.text()).table).size(), 2u);
  const GemmTable foreign("Another GPU", 1);
  EXPECT_EQ(GemmTable::parse(tune_gemms({product_at(256)}, foreign.text()).table).size(), 1u);
}

TEST_F(CudaGemmTable, ARefusedRowLeavesTheChoiceToTheHeuristic) {
  for (const unsigned char byte : {0x00, 0x77}) {
    GemmTable table(device_name(), cublasLtGetVersion());
    table.set(GemmShape(product_at(256)), row_of(byte));
    expect_same_result(table, GemmOrigin::table_refused);
  }
}

}  // namespace
}  // namespace strait::kernels::cuda
