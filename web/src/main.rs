//! The page: mounts the Yew app. Runs on the main thread and draws, nothing else.

#[cfg(target_arch = "wasm32")]
fn main() {
    web::app::mount();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    eprintln!("this program runs in a browser: build it with `trunk build` in web/");
    std::process::ExitCode::FAILURE
}
