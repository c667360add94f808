//! The engine worker: holds the model and answers. Runs in a dedicated worker.

#[cfg(target_arch = "wasm32")]
fn main() {
    web::engine::start();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    eprintln!("this program runs in a browser: build it with `trunk build` in web/");
    std::process::ExitCode::FAILURE
}
