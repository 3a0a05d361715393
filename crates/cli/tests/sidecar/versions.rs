//! Versions of HTTP: clients that speak HTTP/1.0, and all that curl speaks.

use std::process::Command;

use byname_test_support::{TestResult, raw_http1};

use crate::sidecar::loopback::{IN_SHOP, LISTENER, Loopback, MODES, on_this_machine};

#[tokio::test]
async fn http10_is_served_with_and_without_a_host() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    let none = "name_not_found";
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        for (request, expected) in [
            ("GET / HTTP/1.0\r\nHost: payments\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: pay:80\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: payments.prod:8080\r\n\r\n", Ok("payments.prod")),
            ("GET http://db-0.db/ HTTP/1.0\r\n\r\n", Ok("db-0")),
            ("GET http://payments/ HTTP/1.0\r\nHost: db-0.db\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: nobody\r\n\r\n", Err(none)),
            ("GET / HTTP/1.0\r\n\r\n", Err(none)),
            // Without a Host a newer request is malformed.
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", Err("")),
        ] {
            let answer = raw_http1(envoy.port(LISTENER), request.as_bytes()).await?;
            let row = format!("{by}, {request:?}: {answer}");
            match expected {
                Ok(upstream) => {
                    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{row}");
                    assert!(answer.contains(&format!("\"upstream\":\"{upstream}\"")), "{row}");
                }
                Err("") => assert!(answer.starts_with("HTTP/1.1 400 "), "{row}"),
                Err(reason) => {
                    assert!(answer.contains(" 404 "), "{row}");
                    assert!(answer.contains(&format!("x-byname-reason: {reason}\r\n")), "{row}");
                }
            }
        }
    }
    Ok(())
}

/// Each way in which curl hands a request to a proxy, or to the sidecar itself.
#[tokio::test]
async fn curl_reaches_a_service_in_every_way_that_it_has() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        let (proxy, url) = (format!("127.0.0.1:{}", envoy.port(LISTENER)), "http://payments/");
        let direct = format!("http://{proxy}/");
        for arguments in [
            &["-x", &proxy, url][..],
            &["-0", "-x", &proxy, url],
            &["-p", "-x", &proxy, url],
            &["-p", "--proxy1.0", &proxy, url],
            &["-H", "Host: payments", &direct],
            &["-0", "-H", "Host: payments", &direct],
            &["--http2", "-H", "Host: payments", &direct],
            &["--http2-prior-knowledge", "-H", "Host: payments", &direct],
        ] {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-m", "20"]).args(arguments).env_remove("http_proxy").env_remove("no_proxy");
            // The upstreams answer on this thread meanwhile.
            let output = tokio::task::spawn_blocking(move || curl.output()).await??;
            let printed = String::from_utf8_lossy(&output.stdout);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(printed.contains("\"upstream\":\"payments.shop\""), "{by}, {arguments:?}: {printed}{said}");
        }
    }
    Ok(())
}
