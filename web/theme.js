// Sets the chosen theme before anything is drawn. Without a choice the system's counts.
try {
  const chosen = localStorage.getItem("sheaf-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage may be forbidden: then the system's theme it is
}
