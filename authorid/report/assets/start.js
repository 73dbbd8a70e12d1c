
// Show everything.

showSummary();
setUpTable();
setUpDetails();
showOverviews();
showMap();
showTree();
showTrust();
showSpeed();
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  showMap();
  showTree();
});
document.documentElement.dataset.ready = "true";
