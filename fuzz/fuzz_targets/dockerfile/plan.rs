/// Has every image: with a trigger, and for the platform that is asked for.
struct AnyBase;

impl plan::Bases for AnyBase {
    fn base(
        &mut self,
        reference: &oxbox_layers::oci::Reference,
        platform: &oxbox_layers::oci::Platform,
    ) -> Result<plan::Base, plan::FetchError> {
        let mut config = oxbox_layers::oci::Config::scratch(platform);
        let container = config.config.get_or_insert_default();
        container.env = Some(vec!["A=b".to_owned(), "odd".to_owned()]);
        container.working_dir = Some("here/..//there".to_owned());
        container.on_build = Some(vec!["COPY <<x y /z\nx".to_owned(), format!("LABEL from={reference}")]);
        let manifest = oxbox_layers::oci::Descriptor::of(oxbox_layers::oci::MediaType::OCI_MANIFEST, b"");
        Ok(plan::Base { manifest, config })
    }

    fn layout(
        &mut self,
        _: &plan::LayoutImage,
        platform: &oxbox_layers::oci::Platform,
    ) -> Result<plan::Base, plan::FetchError> {
        let manifest = oxbox_layers::oci::Descriptor::of(oxbox_layers::oci::MediaType::OCI_MANIFEST, b"layout");
        Ok(plan::Base { manifest, config: oxbox_layers::oci::Config::scratch(platform) })
    }
}

/// Plans a parsed file and checks what must hold of every graph.
fn exercise_plan(file: &dockerfile::File, text: &str) {
    let mut options = plan::Options::default();
    options.build_args.insert("v".to_owned(), "a b".to_owned());
    for (name, context) in [("c", ""), ("layout", "oci-layout://x"), ("one", "docker-image://x"), ("t", "target:a")] {
        let context = plan::Context::parse(context).expect("because they are well formed");
        options.contexts.insert(name.to_owned(), context.unwrap_or(plan::Context::Folder));
    }
    options.allow.insert(plan::Entitlement::SecurityInsecure);
    exercise_one_plan(file, text, &options);
    options.target = Some("0".to_owned());
    exercise_one_plan(file, text, &options);
    options.platforms = ["linux/amd64", "linux/arm64"].map(|one| one.parse().expect("because it is one")).to_vec();
    options.emulated = ["amd64".to_owned(), "arm64".to_owned()].into();
    exercise_one_plan(file, text, &options);
}

fn exercise_one_plan(file: &dockerfile::File, text: &str, options: &plan::Options) {
    let plan = match plan::plan(file, text, options, &mut AnyBase) {
        Err(errors) => {
            assert!(!errors.errors.is_empty() && errors.errors.len() <= dockerfile::MAX_ERRORS);
            assert!(!errors.render("Dockerfile", text).is_empty());
            return;
        }
        Ok(plan) => plan,
    };
    for (place, vertex) in plan.graph.vertices.iter().enumerate() {
        assert!(vertex.op.inputs().iter().all(|input| input.0 < place));
        assert!(vertex.line <= text.matches('\n').count() + 1);
    }
    assert_eq!(plan.results.len(), options.platforms.len().max(1));
    for result in &plan.results {
        let mut chain = vec![result.vertex];
        while let Some(below) = plan.graph.vertices[chain[chain.len() - 1].0].op.below() {
            chain.push(below);
        }
        assert!(chain.iter().all(|vertex| plan.graph.vertices[vertex.0].exported));
        let layers: Vec<_> = result.history.iter().filter_map(|line| line.vertex).collect();
        chain.reverse();
        assert_eq!(layers, chain[1..], "every vertex of the image has its line, in order");
    }
    for warning in &plan.warnings {
        assert!(!warning.render("Dockerfile", text).is_empty());
    }
}
